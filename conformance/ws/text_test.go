package ws

import (
	"fmt"
	"strings"
)

// named is a byte sequence with the name of what it is.
type named struct{ name, bytes string }

// validText: well-formed sequences (RFC 3629 §4), borders and noncharacters
// included: those are characters to UTF-8.
func validText() []named {
	all := []named{
		{"U+0000", "\x00"}, {"U+007F", "\x7f"}, {"U+0080", "\u0080"}, {"U+07FF", "\u07ff"}, {"U+0800", "\u0800"}, {"U+FFFF", "\uffff"},
		{"U+10000", "\U00010000"}, {"U+10FFFF", "\U0010ffff"}, {"U+D7FF, before the surrogates", "\ud7ff"}, {"U+E000, behind the surrogates", "\ue000"},
		{"U+FFFD, the replacement character", "\ufffd"}, {"U+FEFF, a byte order mark", "\ufeffmarked"}, {"Greek", "κόσμε"}, {"mixed lengths", "aé€𐍈"},
		{"Hello-µ@ßöäüàá-UTF-8!!", "Hello-µ@ßöäüàá-UTF-8!!"}, {"combining characters", "e\u0301\u0302"}, {"right to left", "שלום"}, {"family of emoji", "👨‍👩‍👧‍👦"},
		{"U+FDD0", "\ufdd0"}, {"U+FDEF", "\ufdef"},
	}
	for plane := range 17 {
		for _, end := range []rune{0xfffe, 0xffff} {
			r := rune(plane)<<16 | end
			all = append(all, named{fmt.Sprintf("noncharacter U+%04X", r), string(r)})
		}
	}
	return all
}

// invalidText: the families of ill-formed UTF-8.
func invalidText() []named {
	all := []named{
		{"F4 90 80 80, U+110000", "\xf4\x90\x80\x80"}, {"F7 BF BF BF, U+1FFFFF", "\xf7\xbf\xbf\xbf"}, {"F5 80 80 80", "\xf5\x80\x80\x80"},
		{"F8 88 80 80 80, five bytes", "\xf8\x88\x80\x80\x80"}, {"FB BF BF BF BF, five bytes", "\xfb\xbf\xbf\xbf\xbf"},
		{"FC 84 80 80 80 80, six bytes", "\xfc\x84\x80\x80\x80\x80"}, {"FD BF BF BF BF BF, six bytes", "\xfd\xbf\xbf\xbf\xbf\xbf"},
		{"FE", "\xfe"}, {"FF", "\xff"}, {"FE FE FF FF", "\xfe\xfe\xff\xff"},
		{"C0 AF, overlong slash in two", "\xc0\xaf"}, {"E0 80 AF, overlong slash in three", "\xe0\x80\xaf"}, {"F0 80 80 AF, overlong slash in four", "\xf0\x80\x80\xaf"},
		{"F8 80 80 80 AF, overlong slash in five", "\xf8\x80\x80\x80\xaf"}, {"FC 80 80 80 80 AF, overlong slash in six", "\xfc\x80\x80\x80\x80\xaf"},
		{"C1 BF, overlong U+007F", "\xc1\xbf"}, {"E0 9F BF, overlong U+07FF", "\xe0\x9f\xbf"}, {"F0 8F BF BF, overlong U+FFFF", "\xf0\x8f\xbf\xbf"},
		{"F8 87 BF BF BF, overlong in five", "\xf8\x87\xbf\xbf\xbf"}, {"FC 83 BF BF BF BF, overlong in six", "\xfc\x83\xbf\xbf\xbf\xbf"},
		{"C0 80, overlong NUL in two", "\xc0\x80"}, {"E0 80 80, overlong NUL in three", "\xe0\x80\x80"}, {"F0 80 80 80, overlong NUL in four", "\xf0\x80\x80\x80"},
		{"ED A0 80, first high surrogate", "\xed\xa0\x80"}, {"ED AD BF, a high surrogate", "\xed\xad\xbf"}, {"ED AE 80, private high surrogate", "\xed\xae\x80"},
		{"ED AF BF, last high surrogate", "\xed\xaf\xbf"}, {"ED B0 80, first low surrogate", "\xed\xb0\x80"}, {"ED BE 80, a low surrogate", "\xed\xbe\x80"},
		{"ED BF BF, last low surrogate", "\xed\xbf\xbf"}, {"ED A0 80 ED B0 80, a pair", "\xed\xa0\x80\xed\xb0\x80"}, {"ED AF BF ED BF BF, a pair", "\xed\xaf\xbf\xed\xbf\xbf"},
		{"valid, then surrogate, then valid", "κόσμε\xed\xa0\x80edited"}, {"C2 41, a start and a letter", "\xc2A"}, {"E2 82 41", "\xe2\x82A"}, {"F0 9F 90 41", "\xf0\x9f\x90A"},
		{"E2 28 A1", "\xe2\x28\xa1"}, {"F0 28 8C BC", "\xf0\x28\x8c\xbc"}, {"Latin-1", "caf\xe9"}, {"UTF-16", "\xff\xfeh\x00i\x00"},
	}
	cont := "\x80\xbf\x80\xbf\x80\xbf\x80"
	for n := 1; n <= 7; n++ {
		all = append(all, named{fmt.Sprintf("%d continuation bytes alone", n), cont[:n]})
	}
	var conts, starts2, starts3, starts4 strings.Builder
	for c := 0x80; c < 0xc0; c++ {
		conts.WriteByte(byte(c))
	}
	for c := 0xc0; c < 0xf8; c++ {
		b := map[bool]*strings.Builder{true: &starts2}[c < 0xe0]
		if b == nil {
			b = map[bool]*strings.Builder{true: &starts3, false: &starts4}[c < 0xf0]
		}
		b.WriteByte(byte(c))
		b.WriteByte(' ')
	}
	all = append(all, named{"all 64 continuation bytes", conts.String()}, named{"all starts of two, each with a space", starts2.String()},
		named{"all starts of three, each with a space", starts3.String()}, named{"all starts of four, each with a space", starts4.String()})
	for _, cut := range []string{"\xc2", "\xdf", "\xe0\xa0", "\xe2", "\xef\xbf", "\xf0\x90\x80", "\xf0\x9f", "\xf4", "\xf4\x8f\xbf"} {
		all = append(all, named{fmt.Sprintf("% X, cut short by the end of the message", cut), cut},
			named{fmt.Sprintf("% X, cut short by the next character", cut), cut + "é"})
	}
	return all
}

func validTextRows() []row {
	b := &book{section: "RFC 6455 §8.1"}
	for _, v := range validText() {
		b.open("valid: "+v.name, send(text(v.bytes)), want(sayText(v.bytes)), usable())
	}
	for _, v := range validText()[:20] {
		if len(v.bytes) == 1 {
			continue
		}
		b.open("valid in fragments of one byte: "+v.name, send(fragments(opText, v.bytes, 1)...), want(sayText(v.bytes)), usable())
		b.open("valid, one byte per write: "+v.name, chop(1, text(v.bytes)), want(sayText(v.bytes)), usable())
	}
	return b.rows
}

func invalidTextRows() []row {
	b := &book{section: "RFC 6455 §8.1"}
	for _, v := range invalidText() {
		b.open("invalid: "+v.name, send(text(v.bytes)), fails(1007))
		b.open("invalid behind 4 KiB: "+v.name, send(text(strings.Repeat("a", 4096)+v.bytes)), fails(1007))
		b.open("invalid in fragments of one byte: "+v.name, send(fragments(opText, v.bytes, 1)...), fails(1007))
		b.open("binary may be: "+v.name, send(bin(v.bytes)), want(sayBinary(v.bytes)), usable())
	}
	return b.rows
}

// textInPiecesRows: invalid text is refused at the first byte that nothing could
// repair, while its frame or message is still incomplete (§8.1 with §7.1.7: a
// peer must not be made to wait for the rest).
func textInPiecesRows() []row {
	b := &book{section: "RFC 6455 §8.1"}
	// Each ends with the byte that decides.
	decisive := []named{
		{"F4 90", "\xf4\x90"}, {"F0 8F", "\xf0\x8f"}, {"E0 9F", "\xe0\x9f"}, {"ED A0", "\xed\xa0"}, {"C0", "\xc0"}, {"C1", "\xc1"}, {"F5", "\xf5"}, {"FF", "\xff"}, {"80", "\x80"},
		{"E2 82 20", "\xe2\x82 "}, {"F0 9F 90 C0", "\xf0\x9f\x90\xc0"}, {"C3 28", "\xc3("}, {"κόσμε, then F4 90", "κόσμε\xf4\x90"},
	}
	for _, v := range decisive {
		header := announced(bitFin|opText, 16, 4000)
		part := masked(bitFin|opText, v.bytes)[6:] // masked payload
		b.open("at once, the rest of the frame missing: "+v.name, send(header, part), fails(1007))
		b.open("at once, the frame one byte per write: "+v.name, chop(1, header, part), fails(1007))
		b.open("at once, the last fragment missing: "+v.name, send(masked(opText, v.bytes)), fails(1007))
		b.open("at once, in a continuation: "+v.name, send(masked(opText, "κόσμε")), send(ping("")), want(`pong ""`), send(masked(0, v.bytes)), fails(1007))
		if last := len(v.bytes) - 1; last > 0 {
			b.open("at once, cut before the deciding byte by a fragment: "+v.name, send(masked(opText, v.bytes[:last]), ping("still fine")), want(`pong "still fine"`), send(masked(0, v.bytes[last:])), fails(1007))
		}
	}
	const euro = "\xe2\x82\xac"
	for cut := 1; cut < len(euro); cut++ {
		b.open(fmt.Sprintf("a character cut after %d bytes by a fragment", cut), send(masked(opText, euro[:cut]), masked(bitFin, euro[cut:])), want(`text "€"`), usable())
		b.open(fmt.Sprintf("a character cut after %d bytes by an empty fragment", cut), send(masked(opText, euro[:cut]), masked(0, ""), masked(bitFin, euro[cut:])), want(`text "€"`), usable())
		b.open(fmt.Sprintf("a message that ends %d bytes into a character", cut), send(masked(opText, "a"), masked(bitFin, euro[:cut])), fails(1007))
	}
	b.open("every message starts anew", send(text("é"), text("é"), bin("\xc3"), text("é")), want(`text "é"`, `text "é"`, `binary "\xc3"`, `text "é"`), usable())
	b.open("a message does not complete the one before", send(text("\xe2\x82")), fails(1007))
	long := strings.Repeat("κόσμε€𐍈", 5000)
	for _, size := range []int{1021, 4093, 4096} {
		b.open(fmt.Sprintf("105 kB of mixed characters in fragments of %d", size), send(fragments(opText, long, size)...), want(sayText(long)), usable())
		b.open(fmt.Sprintf("105 kB of mixed characters, %d bytes per write", size), chop(size, text(long)), want(sayText(long)), usable())
		b.open(fmt.Sprintf("invalid at the end of 105 kB, %d bytes per write", size), chop(size, text(long+"\xed\xa0\x80")), fails(1007))
	}
	return b.rows
}
