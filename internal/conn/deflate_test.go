package conn

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/flate"

	"github.com/livegate/livegate/internal/frame"
)

var deflateOn = frame.DeflatePolicy{Enabled: true}

// offering upgrades with an extension offer and returns the answer.
func (p *peer) offering(offer string) string {
	p.t.Helper()
	p.send([]byte(upgradeHead("/dev", "Sec-WebSocket-Extensions: "+offer)))
	res, body := p.response()
	if res.StatusCode != 101 {
		p.t.Fatalf("status %d %s", res.StatusCode, body)
	}
	return res.Header.Get("Sec-WebSocket-Extensions")
}

// squeeze is a compressed message's payload by another implementation.
func squeeze(s string) []byte {
	var b strings.Builder
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	w.Write([]byte(s))
	w.Flush()
	return []byte(strings.TrimSuffix(b.String(), "\x00\x00\xff\xff"))
}

// squeezed is a compressed message in frames of at most n bytes.
func squeezed(s string, n int) (all []byte) {
	z := squeeze(s)
	for first := byte(0x41); ; first = 0 {
		k := min(n, len(z))
		if k == len(z) {
			return append(all, part(first|0x80, string(z))...)
		}
		all = append(all, part(first, string(z[:k]))...)
		z = z[k:]
	}
}

// scaled is n, or less of the same where the race detector makes it slow.
func scaled(n int) int {
	if raceEnabled {
		return n / 16
	}
	return n
}

// letters are n of sixteen: they compress to half.
func letters(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + rand.IntN(16))
	}
	return string(b)
}

// inflated reads a message and undoes its compression; size is that of its frame.
func (p *peer) inflated(w *frame.Window) (msg string, size int) {
	p.t.Helper()
	head, err := p.r.Peek(1)
	if err != nil {
		p.t.Fatal(err)
	}
	payload, err := readServerFrame(p.r)
	if err != nil {
		p.t.Fatal(err)
	}
	if head[0]&frame.Rsv1 == 0 {
		return string(payload), len(payload)
	}
	z := frame.BorrowInflater(frame.InflateLimits{Ratio: -1, Step: 1 << 30}, w)
	defer z.Release()
	b, _, err := z.Write(nil, payload)
	if err == nil {
		b, err = z.End(b)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b), len(payload)
}

func TestDeflateNegotiation(t *testing.T)        { onEngines(t, testDeflateNegotiation) }
func TestDeflateNegotiationOverTLS(t *testing.T) { onEngines(t, testDeflateNegotiation) }

func testDeflateNegotiation(t *testing.T) {
	const off = "; server_no_context_takeover; client_no_context_takeover"
	for _, r := range []struct {
		policy       frame.DeflatePolicy
		offer, reply string
	}{
		{frame.DeflatePolicy{}, "permessage-deflate", ""},
		{deflateOn, "permessage-deflate; client_max_window_bits", "permessage-deflate" + off},
		{deflateOn, "x-unknown, permessage-deflate; server_max_window_bits=9", "permessage-deflate" + off + "; server_max_window_bits=9"},
		{deflateOn, "permessage-deflate; server_max_window_bits=7", ""},
		{frame.DeflatePolicy{Enabled: true, ContextTakeover: true}, "permessage-deflate", "permessage-deflate"},
		{frame.DeflatePolicy{Enabled: true, ContextTakeover: true, ClientWindowBits: 10}, "permessage-deflate; client_max_window_bits; server_no_context_takeover",
			"permessage-deflate; server_no_context_takeover; client_max_window_bits=10"},
	} {
		_, addr := serveTCP(t, Config{Upgrade: accepting(Options{Handler: echo{}, Deflate: r.policy})})
		p := dialTCP(t, addr)
		if got := p.offering(r.offer); got != r.reply {
			t.Errorf("%q: %q, want %q", r.offer, got, r.reply)
		}
		long := strings.Repeat("again and again ", 100)
		p.send(text(long))
		switch got, size := p.inflated(nil); {
		case got != long:
			t.Errorf("%q: %d bytes back", r.offer, len(got))
		case (size < len(long)) != (r.reply != ""):
			t.Errorf("%q: the answer %q, and %d bytes for %d", r.offer, r.reply, size, len(long))
		}
		if r.reply == "" {
			p.send(part(0xC1, "x"))
			if got := p.next(); got != "close 1002 Reserved bits set" {
				t.Error(got)
			}
		}
	}
	_, addr := serveTCP(t, Config{Upgrade: accepting(Options{Handler: echo{}})})
	p := dialTCP(t, addr)
	p.send([]byte(upgradeHead("/", `Sec-WebSocket-Extensions: permessage-deflate; ="`)))
	if res, body := p.response(); res.StatusCode != 400 {
		t.Error(res.Status, body)
	}
	_, addr = serveTCP(t, Config{Upgrade: accepting(Options{Handler: echo{}, Deflate: frame.DeflatePolicy{ServerWindowBits: 3}})})
	p = dialTCP(t, addr)
	p.send([]byte(upgradeHead("/")))
	if res, body := p.response(); res.StatusCode != 500 {
		t.Error("a policy that is not valid:", res.Status, body)
	}
}

func TestDeflateMessages(t *testing.T)        { onEngines(t, testDeflateMessages) }
func TestDeflateMessagesOverTLS(t *testing.T) { onEngines(t, testDeflateMessages) }

func testDeflateMessages(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		policy := frame.DeflatePolicy{Enabled: true, ContextTakeover: takeover}
		_, addr := serveTCP(t, Config{Upgrade: accepting(Options{Handler: echo{}, Deflate: policy, Limits: Limits{SendBytes: 32 << 20}})})
		p := dialTCP(t, addr)
		p.offering("permessage-deflate; client_no_context_takeover")
		var w *frame.Window
		if takeover {
			w = frame.NewWindow(15)
		}
		noise := strings.Repeat(letters(1500), 2)
		for i, m := range []string{
			"", "short", strings.Repeat("long ", 1000), "héllo wörld", noise, noise, strings.Repeat("very long ", scaled(500_000)), "end",
		} {
			for _, n := range []int{1 << 30, 1000, 7} {
				if n == 7 && len(m) > 10_000 {
					continue
				}
				p.send(squeezed(m, n))
				got, size := p.inflated(w)
				if got != m {
					t.Fatalf("takeover %v, message %d in frames of %d: %s", takeover, i, n, short(got))
				}
				if takeover && i == 5 && size > 100 { // seen before
					t.Errorf("the same message again takes %d bytes", size)
				}
			}
			p.send(text("plain among them"))
			if got, _ := p.inflated(w); got != "plain among them" {
				t.Fatal(got)
			}
		}
		// Octet by octet, with a ping inside.
		for _, b := range squeezed("slowly", 3) {
			p.send([]byte{b})
		}
		if got, _ := p.inflated(w); got != "slowly" {
			t.Fatal(got)
		}
	}
}

// The client's messages refer to earlier ones, some of them uncompressed.
func TestDeflateClientTakeover(t *testing.T) { onEngines(t, testDeflateClientTakeover) }

func testDeflateClientTakeover(t *testing.T) {
	policy := frame.DeflatePolicy{Enabled: true, ContextTakeover: true}
	_, addr := serveTCP(t, Config{Upgrade: accepting(Options{Handler: echo{}, Deflate: policy})})
	p := dialTCP(t, addr)
	p.offering("permessage-deflate")
	w, theirs := frame.NewWindow(15), frame.NewWindow(15)
	long := strings.Repeat("0123456789abcdef", 50)
	for i := range 5 {
		m := fmt.Sprint(i, long)
		b := frame.AppendCompressed(nil, frame.Text, []byte(m), 15, w)
		h, n, err := frame.Parse(b, frame.FromServer, frame.Rsv1)
		if err != nil {
			t.Fatal(err)
		}
		p.send(part(0xC1, string(b[n:])), text("plain"))
		if i > 0 && h.Length > 60 {
			t.Errorf("%d bytes: the context was not used", h.Length)
		}
		if got, _ := p.inflated(theirs); got != m {
			t.Fatal(short(got))
		}
		if got, _ := p.inflated(theirs); got != "plain" {
			t.Fatal(got)
		}
	}
}

// One shared message to clients of every dialect, mixed with their own messages.
func TestDeflatePrepared(t *testing.T)        { onEngines(t, testDeflatePrepared) }
func TestDeflatePreparedOverTLS(t *testing.T) { onEngines(t, testDeflatePrepared) }

func testDeflatePrepared(t *testing.T) {
	opened := make(chan *Conn, 1)
	_, addr := serveTCP(t, Config{Upgrade: func(u *Upgrade) {
		c, err := u.Accept(Options{Handler: newRecorder(), Deflate: frame.DeflatePolicy{Enabled: true, ContextTakeover: u.Path == "/dev/keeps"}})
		if err != nil {
			t.Error(err)
		}
		opened <- c
	}})
	shared := frame.Prepare(frame.Text, []byte(strings.Repeat("shared by all, ", 100)), "")
	for path, offers := range map[string][]string{
		"/dev":       {"", "permessage-deflate", "permessage-deflate; server_max_window_bits=8"},
		"/dev/keeps": {"permessage-deflate", "permessage-deflate; server_max_window_bits=9"},
	} {
		for _, offer := range offers {
			p := dialTCP(t, addr)
			p.send([]byte(upgradeHead(path, "Sec-WebSocket-Extensions: "+offer)))
			p.response()
			c := <-opened
			var w *frame.Window
			if path != "/dev" {
				w = frame.NewWindow(15)
			}
			for i := range 20 {
				m := fmt.Sprint(i, strings.Repeat("my own ", 100))
				if err := c.Send([]byte(m)); err != nil {
					t.Fatal(err)
				}
				if err := c.SendPrepared(shared); err != nil {
					t.Fatal(err)
				}
				if got, _ := p.inflated(w); got != m {
					t.Fatalf("%s %q: %s", path, offer, short(got))
				}
				got, size := p.inflated(w)
				if got != string(shared.Payload()) || (size < shared.Size()) != (offer != "") {
					t.Fatalf("%s %q: %s in %d bytes", path, offer, short(got), size)
				}
			}
		}
	}
}

// Messages that inflate to far more than they are end at the limit. Others are
// served meanwhile.
func TestDeflateBombs(t *testing.T) { onEngines(t, testDeflateBombs) }

func testDeflateBombs(t *testing.T) {
	const most = 1 << 20
	for name, r := range map[string]struct {
		bomb  []byte
		limit int
		want  string
	}{
		"size":    {squeezed(letters(3<<20), 1<<20), most, "close 1009 Message too large"},
		"ratio":   {squeezed(strings.Repeat("\x00", scaled(64<<20)), 1<<20), 1 << 30, "close 1008 Compression ratio too high"},
		"many":    {squeezed(strings.Repeat("\x00", scaled(64<<20)), 50), most, "close 1008 Compression ratio too high"},
		"corrupt": {part(0xC1, "\xff\xff\xff\xff"), most, "close 1007 Compressed data is corrupt"},
		"cut":     {part(0xC1, string(squeeze("complete")[:3])), most, "close 1007 Compressed data is corrupt"},
		"text":    {squeezed("\xc0\xaf", 100), most, "close 1007 Text is not UTF-8"},
		"control": {part(0xC9, "ping"), most, "close 1002 Reserved bits set"},
		"middle":  {join(part(0x41, "x"), part(0xC0, "y")), most, "close 1002 Reserved bits set"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newRecorder()
			h.echo = true
			_, addr := serveTCP(t, Config{Loops: 1, Upgrade: accepting(Options{Handler: h, Deflate: deflateOn, Limits: Limits{Message: r.limit}})})
			other := dialTCP(t, addr).open()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var all []*peer
			for range 10 {
				p := dialTCP(t, addr)
				p.offering("permessage-deflate")
				go p.nc.Write(r.bomb)
				all = append(all, p)
			}
			for range 50 {
				began := time.Now()
				other.send(text("me too"))
				if got := other.next(); got != `text "me too"` {
					t.Fatal(got)
				}
				if d := time.Since(began); d > time.Second && !raceEnabled {
					t.Errorf("an echo took %v", d)
				}
			}
			for _, p := range all {
				if got := p.next(); got != r.want {
					t.Errorf("%s, want %s", got, r.want)
				}
			}
			runtime.ReadMemStats(&after)
			if n := after.HeapSys - min(before.HeapSys, after.HeapSys); n > 96<<20 {
				t.Errorf("the heap grew by %d MiB", n>>20)
			}
		})
	}
}

// A legitimate message that takes longer to inflate than a turn of the loop.
func TestDeflateLargeMessage(t *testing.T) { onEngines(t, testDeflateLargeMessage) }

func testDeflateLargeMessage(t *testing.T) {
	h := newRecorder()
	_, addr := serveTCP(t, Config{Loops: 1, Upgrade: accepting(Options{Handler: h, Deflate: deflateOn})})
	m := strings.Repeat("\x00", scaled(32<<20))
	var all []*peer
	for range 3 {
		p := dialTCP(t, addr)
		p.offering("permessage-deflate")
		go p.nc.Write(join(squeezed(m, 1000), text("after"), squeezed("and", 2), ping("done")))
		all = append(all, p)
	}
	for _, p := range all {
		if got := p.next(); got != `pong "done"` {
			t.Fatal(got)
		}
	}
	for _, got := range h.got() {
		if got != "after" && got != "and" && got != m {
			t.Error(short(got))
		}
	}
	if len(h.got()) != 9 {
		t.Errorf("%d messages", len(h.got()))
	}
}

// A connection that ends inside a compressed message, by either side.
func TestDeflateEndsInside(t *testing.T) { onEngines(t, testDeflateEndsInside) }

func testDeflateEndsInside(t *testing.T) {
	for _, end := range []string{"client", "server"} {
		h := newRecorder()
		opened := make(chan *Conn, 1)
		_, addr := serveTCP(t, Config{Upgrade: func(u *Upgrade) {
			c, _ := u.Accept(Options{Handler: h, Deflate: deflateOn})
			opened <- c
		}})
		p := dialTCP(t, addr)
		p.offering("permessage-deflate")
		c := <-opened
		z := squeeze(strings.Repeat("unfinished ", 1000))
		p.send(part(0x41, string(z[:20])), ping(""))
		p.next()
		if end == "client" {
			p.nc.Close()
			<-h.done
			continue
		}
		c.Close(4000, "enough")
		p.send(part(0x80, string(z[20:])), part(0xC1, string(z)), bye(1000, ""))
		if got := p.next(); got != "close 4000 enough" {
			t.Error(got)
		}
		<-h.done
		if len(h.got()) != 0 {
			t.Error("a message was delivered")
		}
	}
}

// What a connection with the default agreement costs per message: nothing.
func TestDeflateAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops items at random under the race detector")
	}
	r := stillConn(discard{}, Limits{})
	r.c.agree(frame.Deflate{On: true, ServerBits: 15, ClientBits: 15})
	if r.c.coding != nil {
		t.Error("something is kept between messages")
	}
	msg := []byte(strings.Repeat("compress me ", 100))
	if n := testing.AllocsPerRun(200, func() {
		if err := r.c.Send(msg); err != nil {
			t.Fatal(err)
		}
		r.flush()
	}); n > 0 {
		t.Errorf("Send: %v allocations", n)
	}
	in := squeezed(string(msg), 1<<20)
	scratch := make([]byte, len(in))
	if n := testing.AllocsPerRun(200, func() { r.feed(scratch[:copy(scratch, in)]) }); n > 0 {
		t.Errorf("receiving: %v allocations", n)
	}
	if n := binary.Size(r.c.agreed); n != 1 {
		t.Errorf("the agreement takes %d bytes", n)
	}
}
