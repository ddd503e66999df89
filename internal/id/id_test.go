package id

import (
	"regexp"
	"testing"

	"github.com/livegate/livegate/internal/fault"
)

func TestConnRoundTrip(t *testing.T) {
	k := NewNodeKey()
	shape := regexp.MustCompile(`^[A-Za-z0-9_-]{15}=$`)
	for range 1000 {
		c := NewConn(k)
		if !shape.MatchString(c.String()) {
			t.Fatalf("%q is not AWS's shape", c)
		}
		back, err := ParseConn(c.String())
		if err != nil || back != c || back.Node() != k {
			t.Fatalf("%q came back as %q, %v", c, back, err)
		}
	}
}

// Four spellings decode to the same 11 bytes; only one may name the connection.
func TestParseConnRefusesOtherSpellings(t *testing.T) {
	c := NewConn(NewNodeKey()).String()
	same := 0
	for _, last := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		s := c[:14] + string(last) + "="
		if _, err := ParseConn(s); err == nil {
			same++
		}
	}
	if same != 16 { // 4 significant bits in the fifteenth character
		t.Fatalf("%d of 64 last characters parse, want 16", same)
	}
	for _, bad := range []string{"", "=", c + "x", c[:15], c[:15] + "A", "gone=", "Xq1/Tq1+Xq1aXq1=", c + c} {
		_, err := ParseConn(bad)
		if !fault.Is(err, fault.BadRequest) || fault.Message(err) != "Invalid connectionId: "+bad {
			t.Errorf("ParseConn(%q) = %v", bad, err)
		}
	}
}

func TestShapes(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{NewUUID(), `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`},
		{NewTrace(0x5f), `^Root=1-0000005f-[0-9a-f]{24}$`},
		{NewRequest(), `^[A-Za-z0-9_-]{15}=$`},
	} {
		if !regexp.MustCompile(c.want).MatchString(c.got) {
			t.Errorf("%q does not match %s", c.got, c.want)
		}
	}
}

func TestStableIsStableAndSeparatesParts(t *testing.T) {
	if got := Stable(10, "a", "bc"); got != "fglrscqyli" {
		t.Fatalf("%s: an id that differs from release to release changes every callback URL", got)
	}
	if Stable(10, "a", "bc") == Stable(10, "ab", "c") {
		t.Fatal("parts run together")
	}
	if !regexp.MustCompile(`^[a-z][a-z0-9]{9}$`).MatchString(Stable(10, "x")) {
		t.Fatal(Stable(10, "x"))
	}
}

func FuzzParseConn(f *testing.F) {
	f.Add("R0oXAdfD0kwCH6w=")
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := ParseConn(s); err == nil && c.String() != s {
			t.Fatalf("%q parsed as %q", s, c)
		}
	})
}
