package conn

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/livegate/livegate/internal/frame"
)

// row is one conversation over a real socket: what the client sends after the
// handshake, the frames it must see, and what OnClose must report. A text
// message is echoed; a binary one is answered with its summary as text.
type row struct {
	name   string // RFC section, then the case
	limits Limits
	send   []byte
	fin    bool // half-close after sending
	want   []string
	end    string
}

// stays is a row that must leave the connection usable: it is closed 1000 after
// the exchange, and that must work.
func stays(name string, send []byte, want ...string) row {
	return row{name: name, send: join(send, bye(1000, "")), want: append(want, "close 1000", "eof"), end: "1000"}
}

// breaks is a row that must end with a close code and reason, after the echoes
// in want.
func breaks(name string, send []byte, code int, reason string, want ...string) row {
	end := fmt.Sprintf("%d %s", code, reason)
	return row{name: name, send: send, want: append(want, "close "+end, "eof"), end: end}
}

func violates(name string, send []byte, v frame.Violation, want ...string) row {
	return breaks(name, send, v.Code(), v.Error(), want...)
}

func rfcRows() []row {
	var rows []row
	for _, section := range []func() []row{
		framingRows, maskRows, lengthRows, fragmentRows, controlRows, closeRows, textRows, limitRows,
	} {
		rows = append(rows, section()...)
	}
	return rows
}

func framingRows() []row {
	var rows []row
	for _, n := range []int{0, 1, 125, 126, 127, 128, 4095, 4096, 4097, 8192, 65535, 65536, 1 << 20} {
		s := strings.Repeat("*", n)
		rows = append(rows,
			stays(fmt.Sprintf("5.2 text of %d bytes", n), text(s), "text "+short(s)),
			stays(fmt.Sprintf("5.2 binary of %d bytes", n), bin(s), "text "+short("binary "+short(s))))
	}
	for rsv := 1; rsv <= 7; rsv++ {
		bits := byte(rsv << 4)
		for _, op := range []frame.Opcode{frame.Text, frame.Binary, frame.Continuation, frame.Ping, frame.Close} {
			rows = append(rows, violates(fmt.Sprintf("5.2 reserved bits %03b on opcode %d", rsv, op), part(0x80|bits|byte(op), "x"), frame.ReservedBits))
		}
	}
	rows = append(rows, violates("5.2 reserved bit after valid traffic", join(text("a"), ping("p"), part(0xC1, "b"), text("c")),
		frame.ReservedBits, `text "a"`, `pong "p"`))
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		rows = append(rows,
			violates(fmt.Sprintf("5.2 reserved opcode %d, empty", op), part(0x80|op, ""), frame.ReservedOpcode),
			violates(fmt.Sprintf("5.2 reserved opcode %d after a message", op), join(text("a"), part(0x80|op, "payload")), frame.ReservedOpcode, `text "a"`))
	}
	return rows
}

func maskRows() []row {
	var rows []row
	for _, op := range []frame.Opcode{frame.Text, frame.Binary, frame.Continuation, frame.Close, frame.Ping, frame.Pong} {
		rows = append(rows, violates(fmt.Sprintf("5.1 unmasked opcode %d", op), unmasked(op, ""), frame.Unmasked))
	}
	rows = append(rows,
		violates("5.1 unmasked text after a masked one", join(text("a"), unmasked(frame.Text, "b")), frame.Unmasked, `text "a"`),
		stays("5.3 mask of zeros", frame.AppendMasked(nil, frame.Text, 0, []byte("plain")), `text "plain"`),
		stays("5.3 mask of ones", frame.AppendMasked(nil, frame.Text, 0xffffffff, []byte("plain")), `text "plain"`),
		stays("5.3 another mask per frame", join(frame.AppendMasked(nil, frame.Text, 1, []byte("one")), frame.AppendMasked(nil, frame.Text, 0xdeadbeef, []byte("two"))), `text "one"`, `text "two"`),
	)
	return rows
}

func lengthRows() []row {
	short16 := func(n uint16) []byte {
		return append(binary.BigEndian.AppendUint16([]byte{0x81, 0xFE}, n), 0, 0, 0, 0)
	}
	long64 := func(n uint64) []byte {
		return append(binary.BigEndian.AppendUint64([]byte{0x81, 0xFF}, n), 0, 0, 0, 0)
	}
	var rows []row
	for _, n := range []uint16{0, 1, 125} {
		rows = append(rows, violates(fmt.Sprintf("5.2 length %d in 16 bits", n), short16(n), frame.LengthForm))
	}
	for _, n := range []uint64{0, 125, 126, 65535} {
		rows = append(rows, violates(fmt.Sprintf("5.2 length %d in 64 bits", n), long64(n), frame.LengthForm))
	}
	for _, n := range []uint64{1 << 63, 1<<63 | 5, 1<<64 - 1} {
		rows = append(rows, violates(fmt.Sprintf("5.2 length %#x", n), long64(n), frame.LengthOverflow))
	}
	huge := long64(1<<63 - 1)
	rows = append(rows, row{name: "5.2 largest length without limits, then FIN", send: huge, fin: true, want: []string{"eof"}, end: "1006"})
	return rows
}

func fragmentRows() []row {
	tiny := func(n int, payload string) []byte {
		b := part(0x01, payload)
		for range n - 2 {
			b = append(b, part(0x00, payload)...)
		}
		return append(b, part(0x80, payload)...)
	}
	const a, b, z = "a", "b", "z"
	return []row{
		stays("5.4 two fragments", join(part(0x01, a), part(0x80, b)), `text "ab"`),
		stays("5.4 three fragments", join(part(0x01, a), part(0x00, b), part(0x80, z)), `text "abz"`),
		stays("5.4 empty first fragment", join(part(0x01, ""), part(0x80, b)), `text "b"`),
		stays("5.4 empty last fragment", join(part(0x01, a), part(0x80, "")), `text "a"`),
		stays("5.4 only empty fragments", join(part(0x01, ""), part(0x00, ""), part(0x80, "")), `text ""`),
		stays("5.4 binary fragments", join(part(0x02, a), part(0x80, "\xff")), `text `+short("binary "+short("a\xff"))),
		stays("5.4 two fragmented messages", join(part(0x01, a), part(0x80, b), part(0x01, z), part(0x80, z)), `text "ab"`, `text "zz"`),
		stays("5.4 ping between fragments is answered first", join(part(0x01, a), ping("p"), part(0x80, b)), `pong "p"`, `text "ab"`),
		stays("5.4 pong between fragments", join(part(0x01, a), pong("p"), part(0x80, b)), `text "ab"`),
		stays("5.4 several pings between fragments", join(part(0x01, a), ping("1"), part(0x00, b), ping("2"), part(0x80, z)), `pong "1"`, `pong "2"`, `text "abz"`),
		violates("5.4 final continuation without a message", part(0x80, a), frame.OrphanContinuation),
		violates("5.4 continuation without a message", part(0x00, a), frame.OrphanContinuation),
		violates("5.4 empty continuation without a message", part(0x80, ""), frame.OrphanContinuation),
		violates("5.4 continuation after a whole message", join(text(a), part(0x80, b)), frame.OrphanContinuation, `text "a"`),
		violates("5.4 continuation after a fragmented message", join(part(0x01, a), part(0x80, b), part(0x80, z)), frame.OrphanContinuation, `text "ab"`),
		violates("5.4 text inside a fragmented text", join(part(0x01, a), text(b)), frame.NestedMessage),
		violates("5.4 first fragment inside a fragmented text", join(part(0x01, a), part(0x01, b)), frame.NestedMessage),
		violates("5.4 binary inside a fragmented text", join(part(0x01, a), bin(b)), frame.NestedMessage),
		violates("5.4 text inside a fragmented binary", join(part(0x02, a), text(b)), frame.NestedMessage),
		{name: "5.4 close inside a fragmented message", send: join(part(0x01, a), bye(1000, "x")), want: []string{"close 1000", "eof"}, end: "1000 x"},
		stays("5.4 1024 fragments of one byte", tiny(1024, "x"), "text "+short(strings.Repeat("x", 1024))),
		breaks("5.4 2000 fragments of one byte", tiny(2000, "x"), 1008, "Too many small fragments"),
		breaks("5.4 2000 empty fragments", tiny(2000, ""), 1008, "Too many small fragments"),
		stays("5.4 4000 fragments of 64 bytes", tiny(4000, strings.Repeat("y", 64)), "text "+short(strings.Repeat("y", 64*4000))),
	}
}

func controlRows() []row {
	rows := []row{
		stays("5.5.2 empty ping", ping(""), `pong ""`),
		stays("5.5.2 ping with payload", ping("hello"), `pong "hello"`),
		stays("5.5.2 ping with bytes that are no text", ping("\x00\xff\xfe"), `pong "\x00\xff\xfe"`),
		stays("5.5.2 ping of 125 bytes", ping(strings.Repeat("p", 125)), "pong "+short(strings.Repeat("p", 125))),
		stays("5.5.3 unsolicited pong", pong("x"), []string{}...),
		stays("5.5.3 empty unsolicited pong", pong("")),
		stays("5.5.3 pong, then ping", join(pong("x"), ping("y")), `pong "y"`),
		violates("5.5.1 fragmented close", part(0x08, ""), frame.FragmentedControl),
		violates("5.5.2 fragmented ping", join(part(0x09, "a"), part(0x80, "b")), frame.FragmentedControl),
		violates("5.5.3 fragmented pong", part(0x0A, "a"), frame.FragmentedControl),
		violates("5.5 fragmented ping inside a message", join(part(0x01, "m"), part(0x09, "a")), frame.FragmentedControl),
	}
	for op, name := range map[frame.Opcode]string{frame.Close: "close", frame.Ping: "ping", frame.Pong: "pong"} {
		for _, n := range []int{126, 65536} {
			rows = append(rows, violates(fmt.Sprintf("5.5 %s of %d bytes", name, n), frame.AppendMasked(nil, op, key, make([]byte, n)), frame.LongControl))
		}
	}
	var pings []byte
	var pongs []string
	for i := range 10 {
		pings = append(pings, ping(fmt.Sprint(i))...)
		pongs = append(pongs, fmt.Sprintf("pong %q", fmt.Sprint(i)))
	}
	return append(rows, stays("5.5.2 ten pings, ten pongs in order", pings, pongs...))
}

func closeRows() []row {
	rows := []row{
		{name: "7.1.5 close without code", send: frame.AppendMasked(nil, frame.Close, key, nil), want: []string{"close", "eof"}, end: "1005 " + reasonNoStatus},
		violates("5.5.1 close payload of one byte", frame.AppendMasked(nil, frame.Close, key, []byte{3}), frame.CloseLength),
		{name: "7.1.6 reason in several alphabets", send: bye(1000, "tschüß – до свидания"), want: []string{"close 1000", "eof"}, end: "1000 tschüß – до свидания"},
		{name: "7.1.6 reason of 123 bytes", send: bye(4000, strings.Repeat("r", 123)), want: []string{"close 4000", "eof"}, end: "4000 " + strings.Repeat("r", 123)},
		violates("7.1.6 reason is not UTF-8", bye(1000, "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"), frame.CloseReason),
		violates("7.1.6 reason cut inside a character", bye(1000, "a\xe2\x82"), frame.CloseReason),
		{name: "7.1 text after close is ignored", send: join(bye(1000, ""), text("late")), want: []string{"close 1000", "eof"}, end: "1000"},
		{name: "7.1 ping after close is ignored", send: join(bye(1000, ""), ping("late")), want: []string{"close 1000", "eof"}, end: "1000"},
		{name: "7.1 second close is ignored", send: join(bye(1000, "first"), bye(4001, "second")), want: []string{"close 1000", "eof"}, end: "1000 first"},
		{name: "7.1 garbage after close is ignored", send: join(bye(1001, ""), []byte(strings.Repeat("\xff", 5000))), want: []string{"close 1001", "eof"}, end: "1001"},
		{name: "7.1 message, then close", send: join(text("m"), bye(1000, "")), want: []string{`text "m"`, "close 1000", "eof"}, end: "1000"},
		{name: "7.1.7 what follows a violation is ignored", send: join(unmasked(frame.Text, "x"), text("late"), bye(1000, "")), want: []string{"close 1002 Frame not masked", "eof"}, end: "1002 Frame not masked"},
		{name: "7.1.5 FIN without close", fin: true, want: []string{"eof"}, end: "1006"},
		{name: "7.1.5 FIN after a message", send: text("m"), fin: true, end: "1006"},
		{name: "7.1.5 FIN inside a header", send: []byte{0x81}, fin: true, want: []string{"eof"}, end: "1006"},
		{name: "7.1.5 FIN inside a payload", send: text("hello")[:8], fin: true, want: []string{"eof"}, end: "1006"},
		{name: "7.1.5 FIN inside a message", send: part(0x01, "half"), fin: true, want: []string{"eof"}, end: "1006"},
	}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		rows = append(rows, row{name: fmt.Sprintf("7.4 close code %d", code), send: bye(code, "r"), want: []string{fmt.Sprintf("close %d", code), "eof"}, end: fmt.Sprintf("%d r", code)})
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		rows = append(rows, violates(fmt.Sprintf("7.4 invalid close code %d", code), bye(code, "r"), frame.CloseCode))
	}
	return rows
}

func textRows() []row {
	var rows []row
	for _, s := range []string{
		"κόσμε", "\x00", "\x7f", "\u0080", "\u07ff", "\u0800", "\uffff", "\U00010000", "\U0010ffff",
		"\ud7ff", "\ue000", "\ufffe", "\U0001fffe", "\U000efff0", "日本語 and English", "𝄞 👩‍👩‍👧‍👦",
	} {
		rows = append(rows, stays(fmt.Sprintf("8.1 text %+q", s), text(s), "text "+short(s)))
		rows = append(rows, stays(fmt.Sprintf("8.1 text %+q, a fragment per byte", s), perByte(s), "text "+short(s)))
	}
	for _, s := range []string{
		"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xe2\x82", "\xe2\x28\xa1",
		"\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xf0\x90\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
		"\xf8\x88\x80\x80\x80", "\xfe", "\xff", "κόσμε\xed\xa0\x80edited", "ok\xe2\x82\xac\xff",
	} {
		rows = append(rows, violates(fmt.Sprintf("8.1 not UTF-8 %+q", s), text(s), frame.InvalidText))
		rows = append(rows, violates(fmt.Sprintf("8.1 not UTF-8 %+q, a fragment per byte", s), perByte(s), frame.InvalidText))
	}
	const head = "κόσμε"
	return append(rows,
		violates("8.1 fails in the first fragment already", part(0x01, head+"\xf4\x90"), frame.InvalidText),
		violates("8.1 fails before the frame is complete", part(0x81, head+"\xf4\x90\x80\x80 and more that never comes")[:2+4+len(head)+2], frame.InvalidText),
		violates("8.1 fails in the middle fragment", join(part(0x01, head), part(0x00, "\xff")), frame.InvalidText),
		violates("8.1 character left open at the end of the message", join(part(0x01, "\xe2"), part(0x80, "\x82")), frame.InvalidText),
		stays("8.1 binary may hold anything", bin("\xff\xfe\xc0"), "text "+short("binary "+short("\xff\xfe\xc0"))),
		stays("8.1 character across fragments with a ping between", join(part(0x01, "\xe2\x82"), ping(""), part(0x80, "\xac")), `pong ""`, `text "€"`),
	)
}

// perByte is s as one message, a fragment per byte.
func perByte(s string) []byte {
	b := part(0x01, s[:1])
	for i := 1; i < len(s); i++ {
		b = append(b, part(0x00, s[i:i+1])...)
	}
	return append(b, part(0x80, "")...)
}

// limitRows: AWS's 32 KB frames and 128 KB messages.
func limitRows() []row {
	aws := Limits{Frame: 32 << 10, Message: 128 << 10, Text: true}
	with := func(l Limits, r row) row { r.limits = l; return r }
	quarter := strings.Repeat("q", 32<<10)
	announce := func(first byte, n int) []byte { return part(first, strings.Repeat("x", n))[:14] }
	frag := func(n int, tail string) []byte {
		b := part(0x01, quarter)
		for range n - 1 {
			b = append(b, part(0x00, quarter)...)
		}
		return append(b, part(0x80, tail)...)
	}
	return []row{
		with(aws, stays("limits: frame of 32768 bytes", text(quarter), "text "+short(quarter))),
		with(aws, breaks("limits: frame of 32769 bytes", text(quarter+"q"), 1009, "Frame too large")),
		with(aws, breaks("limits: frame of 32769 bytes, header only", announce(0x81, 32769), 1009, "Frame too large")),
		with(aws, breaks("limits: frame of 40 KB", text(quarter+quarter[:8192]), 1009, "Frame too large")),
		with(aws, stays("limits: message of 131072 bytes in four frames", frag(4, ""), "text "+short(strings.Repeat(quarter, 4)))),
		with(aws, breaks("limits: message of 131073 bytes", frag(4, "q"), 1009, "Message too large")),
		with(aws, breaks("limits: fifth fragment announced", join(frag(4, "")[:4*(32<<10+8)], announce(0x00, 32768)), 1009, "Message too large")),
		with(aws, breaks("limits: binary frame", bin("x"), 1003, "Binary frames are not supported")),
		with(aws, breaks("limits: empty binary frame", bin(""), 1003, "Binary frames are not supported")),
		with(aws, breaks("limits: binary header only", announce(0x82, 200), 1003, "Binary frames are not supported")),
		with(aws, breaks("limits: binary after text", join(text("t"), bin("x")), 1003, "Binary frames are not supported", `text "t"`)),
		with(aws, stays("limits: ping does not count", join(part(0x01, quarter), ping("p"), part(0x80, "")), `pong "p"`, "text "+short(quarter))),
		with(Limits{Message: 10}, breaks("limits: message over 10 in one frame", text("12345678901"), 1009, "Message too large")),
		with(Limits{Message: 10}, stays("limits: message of 10", text("1234567890"), `text "1234567890"`)),
		with(Limits{Message: 10}, stays("limits: counted per message", join(text("1234567890"), text("abc")), `text "1234567890"`, `text "abc"`)),
		with(Limits{Message: 10}, breaks("limits: length overflowing the sum", join(part(0x01, "12345"), append([]byte{0x80, 0xFF, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 0, 0, 0, 0)), 1009, "Message too large")),
	}
}

// table serves every row's options under a path of its own.
type table struct {
	addr string
	mu   sync.Mutex
	by   map[string]Options
}

func serveTable(t *testing.T) *table {
	tb := &table{by: map[string]Options{}}
	_, tb.addr = serveTCP(t, Config{Upgrade: func(u *Upgrade) {
		tb.mu.Lock()
		o, ok := tb.by[u.Path]
		tb.mu.Unlock()
		if !ok {
			u.Refuse(404, nil, nil)
			return
		}
		u.Accept(o)
	}})
	return tb
}

func (tb *table) run(t *testing.T, path string, r row, octets bool) {
	rec := newRecorder()
	tb.mu.Lock()
	tb.by[path] = Options{Limits: r.limits, Handler: &answering{rec}}
	tb.mu.Unlock()
	p := dialTCP(t, tb.addr)
	p.send([]byte(upgradeHead(path)))
	if res, _ := p.response(); res.StatusCode != 101 {
		t.Fatalf("status %d", res.StatusCode)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		step := len(r.send)
		if octets {
			step = 1
		}
		for at := 0; at < len(r.send); at += step {
			p.nc.Write(r.send[at:min(at+step, len(r.send))]) // the server may have closed: what it said counts
		}
		if r.fin {
			halfClose(p.nc)
		}
	}()
	for i, want := range r.want {
		if got := p.next(); got != want {
			t.Errorf("frame %d: got %s, want %s", i, got, want)
			break
		}
	}
	p.nc.Close()
	<-sent
	<-rec.done
	if got := rec.outcome(); got != r.end {
		t.Errorf("OnClose %q, want %q", got, r.end)
	}
}

type answering struct{ *recorder }

func (a *answering) OnMessage(c *Conn, data []byte, binary bool) {
	a.recorder.OnMessage(c, data, binary)
	if binary {
		data = []byte("binary " + short(string(data)))
	}
	c.Send(data)
}

func TestRFC6455(t *testing.T) { onEngines(t, testRFC6455) }

func testRFC6455(t *testing.T) {
	rows := rfcRows()
	if len(rows) < 200 {
		t.Errorf("only %d rows", len(rows))
	}
	tb := serveTable(t)
	names := map[string]bool{}
	for i, r := range rows {
		if names[r.name] {
			t.Errorf("two rows are named %q", r.name)
		}
		names[r.name] = true
		r.limits.SendBytes = 8 << 20
		t.Run(r.name, func(t *testing.T) { tb.run(t, fmt.Sprintf("/%d", i), r, false) })
		if len(r.send) < 300 { // the same, a byte at a time
			t.Run(r.name+", octet by octet", func(t *testing.T) { tb.run(t, fmt.Sprintf("/%d/o", i), r, true) })
		}
	}
}
