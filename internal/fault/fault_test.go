package fault

import (
	"errors"
	"io"
	"testing"
)

func TestWrapKeepsKindAndPrefixesCall(t *testing.T) {
	call := func() (err error) {
		defer Wrap(&err, "table.Put(%q)", "Chat")
		return New(TooLarge, "item is %d bytes", 9)
	}
	err := call()
	if got, want := err.Error(), `table.Put("Chat"): item is 9 bytes`; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	if KindOf(err) != TooLarge || KindOf(err).Status() != 413 {
		t.Fatalf("kind lost: %v", KindOf(err))
	}
	if Message(err) != "item is 9 bytes" {
		t.Fatalf("caller's message: %q", Message(err))
	}
}

func TestWrapLeavesNilAlone(t *testing.T) {
	var err error
	Wrap(&err, "x")
	if err != nil {
		t.Fatal(err)
	}
}

// An error nobody classified is ours: 500, and its text stays inside.
func TestUnclassifiedIsInternal(t *testing.T) {
	if KindOf(io.EOF) != Internal || Message(io.EOF) != "internal" {
		t.Fatal(KindOf(io.EOF), Message(io.EOF))
	}
	if Is(nil, Internal) {
		t.Fatal("nil is no error of any kind")
	}
}

func TestTypedNamesTheException(t *testing.T) {
	e := Typed(BadRequest, "ResourceNotFoundException", "no table")
	var got *Error
	if !errors.As(error(e), &got) || got.AWSType() != "ResourceNotFoundException" {
		t.Fatal(got)
	}
	if New(Gone, "").AWSType() != "GoneException" {
		t.Fatal("kind's own type expected")
	}
}

// Every kind has a full row: a hole would answer status 0 on the wire.
func TestEveryKindHasFacts(t *testing.T) {
	for k := Internal; k <= Upstream; k++ {
		if k.String() == "" || k.Status() < 400 || k.AWSType() == "" || k.CloseCode() < 1000 {
			t.Errorf("kind %d has an incomplete row", k)
		}
	}
}
