package topic

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/livegate/livegate/internal/fault"
)

// Channel is a checked channel name in its one spelling: segments joined by
// slashes, none in front or behind. The zero value names nothing. Comparable.
type Channel struct{ name string }

// String is the name, such as "news/sport".
func (c Channel) String() string { return c.name }

// Filter is a checked subscription: one channel, or those below it. Comparable.
type Filter struct {
	name  string // without the wildcard
	reach reach
}

// reach says which channels a filter takes in, seen from its name.
type reach uint8

const (
	itself   reach = iota // news        the channel of that name
	below                 // news/*      every channel below it, at any depth
	children              // news/*      those one segment below it (Grammar.Shallow)
)

// String is the filter as it is written, such as "news/*".
func (f Filter) String() string {
	switch {
	case f.reach == itself:
		return f.name
	case f.name == "":
		return "*"
	}
	return f.name + "/*"
}

// Matches reports whether c is one of the filter's channels. "news/*" takes in
// "news/sport" and "news/sport/today", but not "news".
func (f Filter) Matches(c Channel) bool {
	if f.reach == itself {
		return f.name == c.name
	}
	rest := c.name
	if f.name != "" {
		var ok bool
		if rest, ok = strings.CutPrefix(rest, f.name); !ok || rest == "" || rest[0] != '/' {
			return false
		}
		rest = rest[1:]
	}
	return rest != "" && (f.reach == below || strings.IndexByte(rest, '/') < 0)
}

// Grammar says which names are channels. The zero value allows segments of any
// printable characters: user data such as "user:42" or "news/São Paulo" fits.
// Names are compared byte by byte: case counts, and no Unicode form is folded.
type Grammar struct {
	Segments     int // of a name, the wildcard counted; 16
	SegmentBytes int // of a segment; 128
	Bytes        int // of a name as it is written; 1024

	// Words allows only ASCII letters, digits and, inside a segment, dashes. A
	// slash behind the name is dropped, and the first segment is no wildcard.
	Words bool

	// Shallow makes "news/*" take in channels exactly one segment below.
	Shallow bool
}

// AppSync is the grammar of AppSync Events: one to five segments of 1–50 letters,
// digits and inner dashes (AWS AppSync developer guide, "Understanding channels
// in Event APIs"). Whether its wildcard reaches deeper than one segment is not
// documented; this one does.
func AppSync() Grammar {
	return Grammar{Segments: 5, SegmentBytes: 50, Bytes: 5*51 + 1, Words: true}
}

func (g Grammar) withDefaults() Grammar {
	or := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	or(&g.Segments, 16)
	or(&g.SegmentBytes, 128)
	or(&g.Bytes, 1024)
	return g
}

// Channel checks a name to publish to. One slash in front is allowed and has no
// meaning: "/news/sport" and "news/sport" are the same. Errors are of kind
// fault.BadRequest and name the segment and the byte, counted from 1.
func (g Grammar) Channel(s string) (Channel, error) {
	name, wild, err := g.withDefaults().parse(s)
	if err != nil {
		return Channel{}, err
	}
	if wild {
		return Channel{}, fault.New(fault.BadRequest,
			"channel %s: a wildcard stands for many channels; name the one that is meant", quote(s))
	}
	return Channel{name}, nil
}

// Filter checks what to subscribe to: a channel name, or one whose last segment
// is "*". Errors are those of Channel.
func (g Grammar) Filter(s string) (Filter, error) {
	name, wild, err := g.withDefaults().parse(s)
	switch {
	case err != nil:
		return Filter{}, err
	case !wild:
		return Filter{name, itself}, nil
	case g.Words && name == "":
		return Filter{}, fault.New(fault.BadRequest,
			`channel %s: the first segment cannot be a wildcard; write it out, as in "name/*"`, quote(s))
	case g.Shallow:
		return Filter{name, children}, nil
	}
	return Filter{name, below}, nil
}

// parse checks s and cuts the name out of it, without the wildcard.
func (g Grammar) parse(s string) (name string, wild bool, err error) {
	if s == "" {
		return "", false, fault.New(fault.BadRequest, `channel "": it is empty; a name such as "news/sport" is needed`)
	}
	if len(s) > g.Bytes {
		return "", false, fault.New(fault.BadRequest,
			"channel %s: it is %d bytes long; at most %d are allowed", quote(s), len(s), g.Bytes)
	}
	start := 0
	if s[0] == '/' {
		start = 1
	}
	end := len(s)
	if g.Words && end > start+1 && s[end-1] == '/' {
		end--
	}
	at := start
	for n := 1; ; n++ {
		stop := strings.IndexByte(s[at:end], '/')
		if stop < 0 {
			stop = end
		} else {
			stop += at
		}
		seg := s[at:stop]
		switch problem := g.segment(seg); {
		case n > g.Segments:
			return "", false, fault.New(fault.BadRequest,
				"channel %s: it has more than %d segments; the next begins at byte %d", quote(s), g.Segments, at+1)
		case seg == "*" && stop == end:
			return s[start:max(at-1, start)], true, nil
		case seg == "*":
			return "", false, fault.New(fault.BadRequest,
				`channel %s: segment %d, at byte %d, is "*"; a wildcard is allowed only as the last segment`, quote(s), n, at+1)
		case problem.text != "":
			return "", false, fault.New(fault.BadRequest,
				"channel %s: segment %d, at byte %d, %s", quote(s), n, at+problem.at+1, problem.text)
		}
		if stop == end {
			return s[start:end], false, nil
		}
		at = stop + 1
	}
}

type problem struct {
	at   int // byte in the segment
	text string
}

// segment finds what is wrong with one segment; the zero problem: nothing.
func (g Grammar) segment(seg string) problem {
	if seg == "" {
		return problem{0, "is empty"}
	}
	if len(seg) > g.SegmentBytes {
		return problem{0, fmt.Sprintf("is %d bytes long; at most %d are allowed", len(seg), g.SegmentBytes)}
	}
	if g.Words {
		return word(seg)
	}
	for i := 0; i < len(seg); {
		c := seg[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '*':
				return problem{i, `holds "*"; a wildcard is a whole segment`}
			case c < ' ' || c == 0x7f:
				return problem{i, fmt.Sprintf("holds the control character 0x%02x", c)}
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(seg[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return problem{i, "is not UTF-8"}
		case !unicode.IsPrint(r):
			return problem{i, fmt.Sprintf("holds the unprintable character %U", r)}
		}
		i += size
	}
	return problem{}
}

func word(seg string) problem {
	for i := range len(seg) {
		switch c := seg[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case c != '-':
			r, size := utf8.DecodeRuneInString(seg[i:])
			if r == utf8.RuneError && size == 1 {
				return problem{i, "is not UTF-8"}
			}
			return problem{i, fmt.Sprintf("holds %q; letters, digits and dashes are allowed", r)}
		case i == 0:
			return problem{i, "begins with a dash"}
		case i == len(seg)-1:
			return problem{i, "ends with a dash"}
		}
	}
	return problem{}
}

// quote shows at most the first 64 bytes of what a client sent.
func quote(s string) string {
	const most = 64
	if len(s) <= most {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q…", s[:most])
}
