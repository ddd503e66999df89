package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rawConn is a client that breaks the rules.
type rawConn struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

// raw opens a TCP connection and sends a text as it is.
func (g *gate) raw(text string) *rawConn {
	g.t.Helper()
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(g.launch.Port)))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(frameWithin)); err != nil {
		g.t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		g.t.Logf("write: %v", err) // the server may have answered and closed
	}
	return &rawConn{g.t, c, bufio.NewReader(c)}
}

func (c *rawConn) status() int {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatalf("no HTTP answer: %v", err)
	}
	return resp.StatusCode
}

// closeCode reads frames until the close frame and returns its code.
func (c *rawConn) closeCode() int {
	c.t.Helper()
	for {
		var head [2]byte
		if _, err := io.ReadFull(c.r, head[:]); err != nil {
			c.t.Fatalf("ended without a close frame: %v", err)
		}
		payload := make([]byte, head[1]&0x7f)
		if _, err := io.ReadFull(c.r, payload); err != nil {
			c.t.Fatal(err)
		}
		if head[0]&0xf == 8 {
			return int(payload[0])<<8 | int(payload[1])
		}
	}
}

const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// upgrade is a correct handshake; each pair replaces a part of it.
func upgrade(query string, pairs ...string) string {
	return strings.NewReplacer(pairs...).Replace("GET /test?" + query + " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n" +
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + key + "\r\n")
}

func TestHandshakesThatAreNone(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	for name, c := range map[string]struct {
		text   string
		status int
	}{
		"correct":                  {upgrade(""), 101},
		"version 8":                {upgrade("", "Version: 13", "Version: 8"), 426},
		"no key":                   {upgrade("", key, ""), 400},
		"short key":                {upgrade("", "dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400},
		"POST":                     {upgrade("", "GET /", "POST /"), 403}, // no upgrade at all
		"HTTP/1.0":                 {upgrade("", "HTTP/1.1", "HTTP/1.0"), 400},
		"no Host":                  {upgrade("", "Host: localhost\r\n", ""), 400},
		"two Hosts":                {upgrade("", "Host: localhost\r\n", "Host: localhost\r\nHost: localhost\r\n"), 400},
		"space before the colon":   {upgrade("", "Host: ", "Host : "), 400},
		"folded header":            {upgrade("", "Upgrade: websocket\r\n", "Upgrade: websocket\r\n folded\r\n"), 400},
		"NUL in a name":            {upgrade("", "Upgrade: websocket\r\n", "Upgrade: websocket\r\nX\x00Y: z\r\n"), 400},
		"length and chunks":        {upgrade("", "Upgrade: websocket\r\n", "Upgrade: websocket\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n"), 400},
		"URL over 4096 characters": {upgrade("x=" + strings.Repeat("x", 4096)), 414},
		"header over 16 KB":        {upgrade("", "Upgrade: websocket\r\n", "Upgrade: websocket\r\nX: "+strings.Repeat("x", 17<<10)+"\r\n"), 431},
		"GET without an upgrade":   {"GET /test HTTP/1.1\r\nHost: localhost\r\n\r\n", 403},
		"not HTTP":                 {"hello\r\n\r\n", 400},
		// The first kilobytes are a client in a hurry; more than that is a flood while
		// $connect still runs.
		"4 KB before the 101": {upgrade("mode=slow&ms=700") + strings.Repeat("x", 8<<10), 400},
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.in(t).raw(c.text).status(); got != c.status {
				t.Errorf("answered with %d, want %d", got, c.status)
			}
		})
	}
	t.Run("a message before the 101 is kept", func(t *testing.T) {
		c := p.in(t).raw(upgrade("mode=slow&ms=500") + string(frame(0x81, true, `{"action":"mock"}`)))
		if got := c.status(); got != 101 {
			t.Fatalf("answered with %d", got)
		}
		answer := make([]byte, len(`{"mock":true}`)+2)
		if _, err := io.ReadFull(c.r, answer); err != nil || string(answer[2:]) != `{"mock":true}` {
			t.Errorf("got %q, %v", answer, err)
		}
	})
}

// frame is a frame with any first byte, masked or not.
func frame(first byte, masked bool, payload string) []byte {
	b := []byte{first, byte(len(payload))}
	if !masked {
		return append(b, payload...)
	}
	b[1] |= 0x80
	b = append(b, 0, 0, 0, 0) // masking with zeros changes nothing
	return append(b, payload...)
}

func TestFramesThatAreNone(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	for name, c := range map[string]struct {
		bytes []byte
		code  int
	}{
		"not masked":                 {frame(0x81, false, "{}"), 1002},
		"reserved bit":               {frame(0xC1, true, "{}"), 1002},
		"unknown opcode":             {frame(0x83, true, "{}"), 1002},
		"continuation of nothing":    {frame(0x80, true, "{}"), 1002},
		"fragmented ping":            {frame(0x09, true, ""), 1002},
		"message within a message":   {append(frame(0x01, true, "{"), frame(0x81, true, "}")...), 1002},
		"close code of one byte":     {frame(0x88, true, "x"), 1002},
		"close code nobody may send": {frame(0x88, true, "\x03\xed"), 1002}, // 1005
		"close reason, not UTF-8":    {frame(0x88, true, "\x03\xe8\xff"), 1007},
		"text that is not UTF-8":     {frame(0x81, true, "\xc3\x28"), 1007},
		"binary":                     {frame(0x82, true, "x"), 1003},
		"length of 2^63":             {[]byte{0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1002},
		"length of 16 MB":            {[]byte{0x81, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, 1009},
	} {
		t.Run(name, func(t *testing.T) {
			tag := strings.NewReplacer(" ", "-", ",", "", "^", "").Replace(name)
			p := p.in(t)
			client := p.raw(upgrade("tag=" + tag))
			if got := client.status(); got != 101 {
				t.Fatalf("handshake answered with %d", got)
			}
			if _, err := client.Write(c.bytes); err != nil {
				t.Fatal(err)
			}
			if got := client.closeCode(); got != c.code {
				t.Errorf("closed with %d, want %d", got, c.code)
			}
			if r := p.recorded("disconnect", tag); r.Code != c.code {
				t.Errorf("$disconnect with %d, want %d", r.Code, c.code)
			}
		})
	}
}
