package topic

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/livegate/livegate/internal/fault"
)

func TestOneSpelling(t *testing.T) {
	for _, c := range []struct {
		grammar    Grammar
		name, want string
	}{
		{Grammar{}, "news", "news"},
		{Grammar{}, "/news/sport", "news/sport"},
		{Grammar{}, "user:42/São Paulo/#1", "user:42/São Paulo/#1"},
		{Grammar{}, strings.Repeat("a/", 15) + "a", strings.Repeat("a/", 15) + "a"},
		{AppSync(), "default/room", "default/room"},
		{AppSync(), "/default/room", "default/room"},
		{AppSync(), "/default/room/", "default/room"},
		{AppSync(), "a/b/c/d/e", "a/b/c/d/e"},
		{AppSync(), strings.Repeat("x", 50), strings.Repeat("x", 50)},
	} {
		got, err := c.grammar.Channel(c.name)
		if err != nil || got.String() != c.want {
			t.Errorf("Channel(%q) = %q, %v; want %q", c.name, got, err, c.want)
		}
		f, err := c.grammar.Filter(c.name)
		if err != nil || f.String() != c.want || !f.Matches(got) {
			t.Errorf("Filter(%q) = %q, %v; want %q, matching it", c.name, f, err, c.want)
		}
	}
}

func TestWildcards(t *testing.T) {
	deep, shallow := Grammar{}, Grammar{Shallow: true}
	for _, c := range []struct {
		grammar         Grammar
		filter, channel string
		want            bool
	}{
		{deep, "news/*", "news/sport", true},
		{deep, "/news/*", "news/sport/today", true},
		{deep, "news/*", "news", false},
		{deep, "news/*", "newspaper/sport", false},
		{deep, "news/*", "new", false},
		{deep, "*", "news", true},
		{deep, "*", "news/sport", true},
		{deep, "news", "news/sport", false},
		{deep, "News", "news", false},
		{shallow, "news/*", "news/sport", true},
		{shallow, "news/*", "news/sport/today", false},
		{shallow, "news/*", "news", false},
		{shallow, "*", "news", true},
		{shallow, "*", "news/sport", false},
	} {
		f, err := c.grammar.Filter(c.filter)
		if err != nil {
			t.Fatal(err)
		}
		ch, err := c.grammar.Channel(c.channel)
		if err != nil {
			t.Fatal(err)
		}
		if f.Matches(ch) != c.want {
			t.Errorf("%q matches %q: %v, want %v (shallow %v)", f, ch, !c.want, c.want, c.grammar.Shallow)
		}
		if want := strings.TrimPrefix(c.filter, "/"); f.String() != want {
			t.Errorf("%q is written %q", c.filter, f)
		}
	}
}

// An error names the segment and the byte, both counted from 1.
func TestErrorsSayWhere(t *testing.T) {
	long := strings.Repeat("x", 51)
	for _, c := range []struct {
		grammar    Grammar
		name, want string
	}{
		{Grammar{}, "", `channel "": it is empty; a name such as "news/sport" is needed`},
		{Grammar{}, "/", `channel "/": segment 1, at byte 2, is empty`},
		{Grammar{}, "a//b", `channel "a//b": segment 2, at byte 3, is empty`},
		{Grammar{}, "news/", `channel "news/": segment 2, at byte 6, is empty`},
		{Grammar{}, "a\nb", `channel "a\nb": segment 1, at byte 2, holds the control character 0x0a`},
		{Grammar{}, "a/b\x7f", `channel "a/b\x7f": segment 2, at byte 4, holds the control character 0x7f`},
		{Grammar{}, "a/\xff", `channel "a/\xff": segment 2, at byte 3, is not UTF-8`},
		{Grammar{}, "é\u200b", `channel "é\u200b": segment 1, at byte 3, holds the unprintable character U+200B`},
		{Grammar{}, "a*/b", `channel "a*/b": segment 1, at byte 2, holds "*"; a wildcard is a whole segment`},
		{Grammar{}, "*/b", `channel "*/b": segment 1, at byte 1, is "*"; a wildcard is allowed only as the last segment`},
		{Grammar{}, "a/*", `channel "a/*": a wildcard stands for many channels; name the one that is meant`},
		{Grammar{Segments: 2}, "a/b/c", `channel "a/b/c": it has more than 2 segments; the next begins at byte 5`},
		{Grammar{SegmentBytes: 2}, "a/bcd", `channel "a/bcd": segment 2, at byte 3, is 3 bytes long; at most 2 are allowed`},
		{Grammar{Bytes: 4}, "a/bcd", `channel "a/bcd": it is 5 bytes long; at most 4 are allowed`},
		{Grammar{Bytes: 80}, strings.Repeat("y", 81), `channel "` + strings.Repeat("y", 64) + `"…: it is 81 bytes long; at most 80 are allowed`},
		{AppSync(), "/", `channel "/": segment 1, at byte 2, is empty`},
		{AppSync(), "//", `channel "//": segment 1, at byte 2, is empty`},
		{AppSync(), "a//", `channel "a//": segment 2, at byte 3, is empty`},
		{AppSync(), "a/-b", `channel "a/-b": segment 2, at byte 3, begins with a dash`},
		{AppSync(), "a/b-", `channel "a/b-": segment 2, at byte 4, ends with a dash`},
		{AppSync(), "a/b_c", `channel "a/b_c": segment 2, at byte 4, holds '_'; letters, digits and dashes are allowed`},
		{AppSync(), "é", `channel "é": segment 1, at byte 1, holds 'é'; letters, digits and dashes are allowed`},
		{AppSync(), "a\xff", `channel "a\xff": segment 1, at byte 2, is not UTF-8`},
		{AppSync(), long, `channel "` + long + `": segment 1, at byte 1, is 51 bytes long; at most 50 are allowed`},
		{AppSync(), "a/b/c/d/e/f", `channel "a/b/c/d/e/f": it has more than 5 segments; the next begins at byte 11`},
	} {
		_, err := c.grammar.Channel(c.name)
		if err == nil || err.Error() != c.want || !fault.Is(err, fault.BadRequest) {
			t.Errorf("Channel(%q):\n got %v\nwant %s", c.name, err, c.want)
		}
	}
	if _, err := AppSync().Filter("/*"); err == nil ||
		err.Error() != `channel "/*": the first segment cannot be a wildcard; write it out, as in "name/*"` {
		t.Errorf("AppSync Filter(/*): %v", err)
	}
	if _, err := AppSync().Filter("a/b/c/d/e/*"); err == nil {
		t.Error("a wildcard is a segment too, the sixth here")
	}
}

// appSyncChannel is the pattern that the AWS documentation gives.
var appSyncChannel = regexp.MustCompile(`^\/?[A-Za-z0-9](?:[A-Za-z0-9-]{0,48}[A-Za-z0-9])?(?:\/[A-Za-z0-9](?:[A-Za-z0-9-]{0,48}[A-Za-z0-9])?){0,4}\/?$`)

// naiveOpen is the zero Grammar in other words.
func naiveOpen(s string) (segments []string, ok bool) {
	if s == "" || len(s) > 1024 || !utf8.ValidString(s) {
		return nil, false
	}
	segments = strings.Split(strings.TrimPrefix(s, "/"), "/")
	if len(segments) > 16 {
		return nil, false
	}
	for i, seg := range segments {
		if seg == "" || len(seg) > 128 || strings.ContainsFunc(seg, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return nil, false
		}
		if strings.Contains(seg, "*") && (seg != "*" || i != len(segments)-1) {
			return nil, false
		}
	}
	return segments, true
}

// naiveMatch compares segment by segment.
func naiveMatch(filter, channel []string, shallow bool) bool {
	for i, seg := range filter {
		if seg == "*" {
			return i < len(channel) && (!shallow || i == len(channel)-1)
		}
		if i >= len(channel) || seg != channel[i] {
			return false
		}
	}
	return len(filter) == len(channel)
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"news/sport", "/a/*", "*", "a//b", "a/b/", "é/\u200b", "a*b", "/", "", "a/\xff", "default/room-1", "-a", "a/*/b"} {
		f.Add(s, "news/sport")
	}
	f.Fuzz(func(t *testing.T, filter, channel string) {
		for _, g := range []Grammar{{}, {Shallow: true}} {
			want, ok := naiveOpen(filter)
			got, err := g.Filter(filter)
			if (err == nil) != ok {
				t.Fatalf("Filter(%q): %v; the naive parser says %v", filter, err, ok)
			}
			to, okChannel := naiveOpen(channel)
			okChannel = okChannel && to[len(to)-1] != "*"
			ch, err := g.Channel(channel)
			if (err == nil) != okChannel {
				t.Fatalf("Channel(%q): %v; the naive parser says %v", channel, err, okChannel)
			}
			if ok && got.String() != strings.Join(want, "/") {
				t.Fatalf("Filter(%q) is written %q", filter, got)
			}
			if ok && okChannel {
				checkMatch(t, got, ch, naiveMatch(want, to, g.Shallow))
			}
		}
		got, err := AppSync().Channel(channel)
		if want := appSyncChannel.MatchString(channel); (err == nil) != want {
			t.Fatalf("AppSync Channel(%q): %v; the documented pattern says %v", channel, err, want)
		}
		if err == nil && got.String() != strings.Trim(channel, "/") {
			t.Fatalf("AppSync Channel(%q) is written %q", channel, got)
		}
	})
}

// checkMatch asks the filter and an index of that filter alone.
func checkMatch(t *testing.T, f Filter, c Channel, want bool) {
	t.Helper()
	if got := f.Matches(c); got != want {
		t.Fatalf("%q matches %q: %v, want %v", f, c, got, want)
	}
	x := NewIndex[int](0)
	if _, err := x.Subscribe(f, 0, 1); err != nil {
		t.Fatal(err)
	}
	if got := len(x.Match(c, nil)) == 1; got != want {
		t.Fatalf("index: %q matches %q: %v, want %v", f, c, got, want)
	}
}
