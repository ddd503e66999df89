package conn

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// ask is one request head and the status it must get, whether it is the first of
// its connection or comes after another request, through net/http.
type ask struct {
	name   string
	head   string
	status int    // 101: upgraded; 0: not an upgrade, Config.HTTP answers 299
	first  int    // status when it is the first request, if different
	has    string // must be part of head or body
}

// ws builds an opening handshake with lines replaced ("Name: value" replaces all
// lines of that name; "-Name" removes them) or added ("+Name: value").
func ws(line string, edits ...string) string {
	lines := []string{"Host: h.example", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: " + sampleKey, "Sec-WebSocket-Version: 13"}
	for _, e := range edits {
		if add, ok := strings.CutPrefix(e, "+"); ok {
			lines = append(lines, add)
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(e, "-"), ":")
		for i, l := range lines {
			if strings.HasPrefix(l, name+":") {
				if e[0] == '-' {
					lines = append(lines[:i], lines[i+1:]...)
				} else {
					lines[i] = e
				}
				break
			}
		}
	}
	return line + "\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

const get = "GET /dev HTTP/1.1"

func upgradeAsks() []ask {
	rows := []ask{
		{name: "4.2.1 plain handshake", head: ws(get), status: 101},
		{name: "4.2.1 tokens in any case", head: ws(get, "Upgrade: WebSocket", "Connection: keep-alive, UPGRADE"), status: 101},
		{name: "4.2.1 Connection over two lines", head: ws(get, "Connection: keep-alive", "+Connection: upgrade"), status: 101},
		{name: "4.2.1 Upgrade among others", head: ws(get, "Upgrade: h2c, websocket"), status: 101},
		{name: "4.2.1 white space around values", head: ws(get, "Upgrade: \t websocket \t"), status: 101},
		{name: "4.2.1 without Upgrade", head: ws(get, "-Upgrade"), status: 0},
		{name: "4.2.1 another Upgrade", head: ws(get, "Upgrade: websocket2"), status: 0},
		{name: "4.2.1 without Connection", head: ws(get, "-Connection"), status: 0},
		{name: "4.2.1 Connection without upgrade", head: ws(get, "Connection: keep-alive"), status: 0},
		{name: "4.2.1 POST", head: ws("POST /dev HTTP/1.1", "+Content-Length: 0"), status: 0},
		{name: "4.2.1 HTTP/1.0", head: ws("GET /dev HTTP/1.0"), status: 400},
		{name: "4.2.1 without key", head: ws(get, "-Sec-WebSocket-Key"), status: 400},
		{name: "4.2.1 empty key", head: ws(get, "Sec-WebSocket-Key:"), status: 400},
		{name: "4.2.1 key of 15 bytes", head: ws(get, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA"), status: 400},
		{name: "4.2.1 key of 17 bytes", head: ws(get, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA="), status: 400},
		{name: "4.2.1 key that is no base64", head: ws(get, "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!=="), status: 400},
		{name: "4.2.1 two keys", head: ws(get, "+Sec-WebSocket-Key: "+sampleKey), status: 400},
		{name: "4.4 without version", head: ws(get, "-Sec-WebSocket-Version"), status: 426, has: "Sec-Websocket-Version: 13"},
		{name: "4.4 version 8", head: ws(get, "Sec-WebSocket-Version: 8"), status: 426, has: "Sec-Websocket-Version: 13"},
		{name: "4.4 version 13, 8", head: ws(get, "Sec-WebSocket-Version: 13, 8"), status: 426},
		{name: "4.4 two versions", head: ws(get, "+Sec-WebSocket-Version: 8"), status: 400},
		{name: "9112-3.2 without Host", head: ws(get, "-Host"), status: 400},
		{name: "9112-3.2 two Hosts", head: ws(get, "+Host: other.example"), status: 400},
		{name: "9112-3.2 two equal Hosts", head: ws(get, "+Host: h.example"), status: 400},
		{name: "9112-3.2 empty Host", head: ws(get, "Host:"), status: 400},
		{name: "9112-3.2 Host with userinfo", head: ws(get, "Host: u@h.example"), status: 400},
		{name: "9112-3.2 Host with path", head: ws(get, "Host: h.example/x"), status: 400},
		{name: "9112-3.2.2 absolute-form", head: ws("GET http://other.example/dev HTTP/1.1"), status: 101, has: "X-Host: other.example"},
		{name: "9112-3.2.2 absolute-form ws", head: ws("GET ws://other.example:81/dev HTTP/1.1"), status: 101, has: "X-Host: other.example:81"},
		{name: "9112-3.2 fragment", head: ws("GET /dev#x HTTP/1.1"), status: 400},
		{name: "9112-3.2 bad escape", head: ws("GET /dev%zz HTTP/1.1"), status: 400},
		{name: "9112-3.2 control character in escape", head: ws("GET /dev%0d%0aX HTTP/1.1"), status: 400},
		{name: "9112-3.2 escape", head: ws("GET /d%65v HTTP/1.1"), status: 101, has: "X-Path: /dev"},
		{name: "9112-3.2 query", head: ws("GET /dev?a=1&b=%202 HTTP/1.1"), status: 101, has: "X-Query: a=1&b=%202"},
		{name: "9112-6 Content-Length", head: ws(get, "+Content-Length: 5"), status: 400},
		{name: "9112-6 Content-Length 0", head: ws(get, "+Content-Length: 0"), status: 400},
		{name: "9112-6 Transfer-Encoding", head: ws(get, "+Transfer-Encoding: chunked"), status: 400},
		{name: "9112-6 both", head: ws(get, "+Content-Length: 5", "+Transfer-Encoding: chunked"), status: 400},
	}
	return append(rows, smugglingAsks()...)
}

// smugglingAsks are heads that two parsers read differently. None may upgrade.
func smugglingAsks() []ask {
	bare := strings.ReplaceAll(ws(get), "\r\n", "\n")
	return []ask{
		{name: "smuggling: folded header", head: ws(get, "+X-A: b\r\n folded"), status: 400},
		{name: "smuggling: folded with tab", head: ws(get, "+X-A: b\r\n\tfolded"), status: 400},
		{name: "smuggling: folded key", head: ws(get, "Sec-WebSocket-Key: dGhlIHNhbXBs\r\n ZSBub25jZQ=="), status: 400},
		{name: "smuggling: folded Content-Length", head: ws(get, "+X:\r\n Content-Length: 5"), status: 400},
		{name: "smuggling: space before colon", head: ws(get, "+X-A : b"), status: 400},
		{name: "smuggling: Content-Length with space before colon", head: ws(get, "+Content-Length : 5"), status: 400},
		{name: "smuggling: tab before colon", head: ws(get, "+Transfer-Encoding\t: chunked"), status: 400},
		{name: "smuggling: first header line indented", head: get + "\r\n X: y\r\n" + strings.SplitN(ws(get), "\r\n", 2)[1], status: 400},
		{name: "smuggling: bare LF everywhere", head: bare, status: 400},
		{name: "smuggling: bare LF in one line", head: ws(get, "+X-A: b\nX-B: c"), status: 400},
		{name: "smuggling: bare LF ends the head", head: strings.TrimSuffix(ws(get), "\r\n") + "\n", status: 400},
		{name: "smuggling: bare CR in value", head: ws(get, "+X-A: b\rc"), status: 400},
		{name: "smuggling: bare CR before LF pair", head: ws(get, "+X-A: b\r\r\nX-B: c"), status: 400},
		{name: "smuggling: CR in request line", head: ws("GET /dev\r HTTP/1.1"), status: 400},
		{name: "smuggling: NUL in value", head: ws(get, "+X-A: b\x00c"), status: 400},
		{name: "smuggling: NUL in name", head: ws(get, "+X\x00A: b"), status: 400},
		{name: "smuggling: control character in value", head: ws(get, "+X-A: b\x01c"), status: 400},
		{name: "smuggling: DEL in value", head: ws(get, "+X-A: b\x7fc"), status: 400},
		{name: "smuggling: no colon", head: ws(get, "+nocolon"), status: 400},
		{name: "smuggling: empty name", head: ws(get, "+: value"), status: 400},
		{name: "smuggling: name with quote", head: ws(get, "+X\"A: b"), status: 400},
		{name: "smuggling: name beyond ASCII", head: ws(get, "+X-\xe4: b"), status: 400},
		{name: "smuggling: two spaces in request line", head: ws("GET  /dev HTTP/1.1"), status: 400},
		{name: "smuggling: tab in request line", head: ws("GET\t/dev HTTP/1.1"), status: 400},
		{name: "smuggling: trailing space in request line", head: ws("GET /dev HTTP/1.1 "), status: 400, first: 505},
		{name: "smuggling: space in target", head: ws("GET /dev x HTTP/1.1"), status: 400, first: 505},
		{name: "smuggling: target beyond ASCII", head: ws("GET /d\xc3\xa9v HTTP/1.1"), status: 400},
		{name: "smuggling: HTTP/1.1 in lower case", head: ws("GET /dev http/1.1"), status: 400, first: 505},
		{name: "smuggling: HTTP/1.2", head: ws("GET /dev HTTP/1.2"), status: 505},
		{name: "smuggling: no version", head: ws("GET /dev"), status: 400},
		{name: "smuggling: asterisk target", head: ws("GET * HTTP/1.1"), status: 400},
		{name: "smuggling: authority target", head: ws("GET h.example:80 HTTP/1.1"), status: 400},
		{name: "smuggling: absolute-form without host", head: ws("GET http:///dev HTTP/1.1"), status: 400},
		{name: "smuggling: another scheme", head: ws("GET ftp://h.example/dev HTTP/1.1"), status: 400},
		{name: "smuggling: Content-Length in a list", head: ws(get, "+Content-Length: 0, 0"), status: 400},
		{name: "smuggling: two Content-Lengths", head: ws(get, "+Content-Length: 0", "+Content-Length: 7"), status: 400},
		{name: "smuggling: negative Content-Length", head: ws(get, "+Content-Length: -1"), status: 400},
		{name: "smuggling: Content-Length with sign", head: ws(get, "+Content-Length: +0"), status: 400},
		{name: "smuggling: disguised Transfer-Encoding", head: ws(get, "+Transfer-Encoding: xchunked"), status: 400},
		{name: "smuggling: Transfer-Encoding identity", head: ws(get, "+Transfer-Encoding: identity"), status: 400},
	}
}

// The same corpus through both parsers: as the first request of a connection,
// and as a later one, which net/http reads first. net/http may refuse with 501
// or 505 where we say 400; it may not let through what we refuse.
func TestUpgradeRequests(t *testing.T) { onEngines(t, testUpgradeRequests) }

func testUpgradeRequests(t *testing.T) {
	_, addr := serveTCP(t, Config{
		HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(299) }),
		Upgrade: func(u *Upgrade) {
			u.Accept(Options{Handler: newRecorder(), ExtraHeaders: []Header{{"X-Host", u.Host}, {"X-Path", u.Path}, {"X-Query", u.RawQuery}}})
		},
	})
	for _, a := range upgradeAsks() {
		t.Run(a.name, func(t *testing.T) {
			p := dialTCP(t, addr)
			p.send([]byte(a.head))
			want := a.status
			if a.first != 0 {
				want = a.first
			}
			a.check(t, p, want, true)
		})
		t.Run(a.name+", later", func(t *testing.T) {
			p := dialTCP(t, addr)
			p.send([]byte("POST /x HTTP/1.1\r\nHost: h.example\r\nContent-Length: 7\r\n\r\nGET x\n "))
			if res, _ := p.response(); res.StatusCode != 299 {
				t.Fatalf("first request: %d", res.StatusCode)
			}
			p.send([]byte(a.head))
			a.check(t, p, a.status, false)
		})
	}
}

func (a *ask) check(t *testing.T, p *peer, want int, exact bool) {
	t.Helper()
	res, body := p.response()
	var head strings.Builder
	res.Header.Write(&head)
	switch {
	case want == 0:
		if res.StatusCode != 299 {
			t.Errorf("status %d, want the HTTP handler's", res.StatusCode)
		}
		return
	case res.StatusCode != want && (exact || want < 400 || res.StatusCode != 400 && res.StatusCode != 501 && res.StatusCode != 505):
		t.Errorf("status %d %s, want %d", res.StatusCode, body, want)
	case a.has != "" && !strings.Contains(head.String(), a.has):
		t.Errorf("%q is not in\n%s", a.has, head.String())
	}
	if res.StatusCode == 101 {
		if got := res.Header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // RFC 6455 §1.3
			t.Errorf("accept %q", got)
		}
		return
	}
	if exact && strings.HasPrefix(a.head, "GET ") && (!strings.HasPrefix(body, `{"message":"`) || res.Header.Get("Content-Type") != "application/json" || res.ContentLength != int64(len(body)) || !res.Close) {
		t.Errorf("not a whole refusal: %v %s", res.Header, body)
	}
	if got := p.next(); got != "eof" {
		t.Errorf("after the refusal: %s", got)
	}
}

func TestHeadBounds(t *testing.T) { onEngines(t, testHeadBounds) }

func testHeadBounds(t *testing.T) {
	_, addr := serveTCP(t, Config{Upgrade: accepting(Options{Handler: newRecorder()})})
	header := func(n int) string { return "+X: " + strings.Repeat("h", n) }
	base := len(ws(get, header(0)))
	many := func(n int) []string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("+X-%d: y", i))
		}
		return all
	}
	for _, r := range []struct {
		name   string
		head   string
		status int
	}{
		{"head of 16 KiB", ws(get, header(16<<10-base)), 101},
		{"head of 16 KiB and a byte", ws(get, header(16<<10-base+1)), 431},
		{"head of 64 KiB", ws(get, header(64<<10)), 431},
		{"head that never ends", get + "\r\nX: " + strings.Repeat("h", 20<<10), 431},
		{"100 header lines", ws(get, many(95)...), 101},
		{"101 header lines", ws(get, many(96)...), 431},
		{"target of 4096", ws("GET /" + strings.Repeat("p", 4095) + " HTTP/1.1"), 101},
		{"target of 4097", ws("GET /" + strings.Repeat("p", 4096) + " HTTP/1.1"), 414},
		{"target that never ends", "GET /" + strings.Repeat("p", 5000), 414},
	} {
		t.Run(r.name, func(t *testing.T) {
			p := dialTCP(t, addr)
			p.send([]byte(r.head))
			if res, body := p.response(); res.StatusCode != r.status {
				t.Errorf("status %d %s, want %d", res.StatusCode, body, r.status)
			}
		})
	}
}

func TestValidHost(t *testing.T) {
	for _, ok := range []string{"a", "localhost:3001", "abc123.execute-api.eu-west-1.amazonaws.com", "127.0.0.1", "[::1]:3001", "[::1]", "my_host:", "xn--bcher-kva.example."} {
		if !validHost(ok) {
			t.Errorf("%q refused", ok)
		}
	}
	for _, bad := range []string{"", ":80", "a:b", "a:123456", "a:80:80", "::1", "[::1", "::1]", "[127.0.0.1]", "[::1%25lo]", "[]", "a b", "u@h", "h/x", "h%20", "h,h2", "h\x00", "bücher.example", "h?x"} {
		if validHost(bad) {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestHeadByteByByte(t *testing.T) { onEngines(t, testHeadByteByByte) }

func testHeadByteByByte(t *testing.T) {
	_, addr := serveTCP(t, Config{Upgrade: accepting(Options{Handler: newRecorder()})})
	p := dialTCP(t, addr)
	for _, b := range []byte(ws(get)) {
		p.send([]byte{b})
	}
	if res, _ := p.response(); res.StatusCode != 101 {
		t.Fatal(res.StatusCode)
	}
}

// The 101 as AWS spells it.
func TestSwitchingProtocolsBytes(t *testing.T) { onEngines(t, testSwitchingProtocolsBytes) }

func testSwitchingProtocolsBytes(t *testing.T) {
	_, addr := serveTCP(t, Config{Upgrade: func(u *Upgrade) {
		u.Accept(Options{Subprotocol: u.Protocols[1], Handler: newRecorder()})
	}})
	p := dialTCP(t, addr)
	p.send([]byte(ws(get, "+Sec-WebSocket-Protocol: chat , superchat", "+Sec-WebSocket-Protocol: third", "+Sec-WebSocket-Extensions: permessage-deflate")))
	var lines []string
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line = strings.TrimSuffix(line, "\r\n"); line == "" {
			break
		}
		if strings.HasPrefix(line, "Date: ") {
			if _, err := http.ParseTime(line[6:]); err != nil {
				t.Error(err)
			}
			line = "Date: …"
		}
		lines = append(lines, line)
	}
	want := "HTTP/1.1 101 Switching Protocols|Date: …|Connection: upgrade|upgrade: websocket|sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=|sec-websocket-protocol: superchat"
	if got := strings.Join(lines, "|"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestRefuse(t *testing.T) { onEngines(t, testRefuse) }

func testRefuse(t *testing.T) {
	for _, r := range []struct {
		name    string
		status  int
		headers []Header
		body    string
		want    string // status, content type, length, body
	}{
		{"JSON", 403, nil, `{"message":"Forbidden"}`, `403 application/json 23 {"message":"Forbidden"}`},
		{"own content type", 401, []Header{{"content-type", "text/plain"}}, "no", "401 text/plain 2 no"},
		{"empty", 301, []Header{{"Location", "https://x.example/"}}, "", "301  0 "},
		{"status of its own", 799, nil, "", "799  0 "},
		{"header injection in value", 403, []Header{{"X-A", "b\r\nX-Evil: c"}}, "x", `500 application/json 35 {"message":"Internal server error"}`},
		{"header injection in name", 403, []Header{{"X-A: b\r\nX-Evil", "c"}}, "x", `500 application/json 35 {"message":"Internal server error"}`},
		{"not a final status", 101, nil, "x", `500 application/json 35 {"message":"Internal server error"}`},
		{"framing headers are ours", 400, []Header{{"Content-Length", "9"}, {"Transfer-Encoding", "chunked"}, {"Connection", "keep-alive"}}, "abc", "400 application/json 3 abc"},
	} {
		t.Run(r.name, func(t *testing.T) {
			_, addr := serveTCP(t, Config{Upgrade: func(u *Upgrade) {
				u.Refuse(r.status, r.headers, []byte(r.body))
				u.Refuse(500, nil, nil) // a second answer is ignored
				if _, err := u.Accept(Options{Handler: newRecorder()}); !errors.Is(err, ErrGone) {
					t.Errorf("Accept after Refuse: %v", err)
				}
			}})
			p := dialTCP(t, addr)
			p.send([]byte(ws(get)))
			res, body := p.response()
			got := fmt.Sprintf("%d %s %d %s", res.StatusCode, res.Header.Get("Content-Type"), res.ContentLength, body)
			if got != r.want || !res.Close || res.Header.Get("X-Evil") != "" {
				t.Errorf("got %s, want %s", got, r.want)
			}
			if got := p.next(); got != "eof" {
				t.Error(got)
			}
		})
	}
}

func TestAcceptRefusesBadOptions(t *testing.T) { onEngines(t, testAcceptRefusesBadOptions) }

func testAcceptRefusesBadOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"no handler":       {},
		"bad subprotocol":  {Handler: newRecorder(), Subprotocol: "a\r\nX: y"},
		"bad extra header": {Handler: newRecorder(), ExtraHeaders: []Header{{"X", "a\nb"}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, addr := serveTCP(t, Config{Upgrade: func(u *Upgrade) {
				if c, err := u.Accept(o); err == nil || c != nil {
					t.Errorf("accepted: %v", err)
				}
			}})
			p := dialTCP(t, addr)
			p.send([]byte(ws(get)))
			if res, _ := p.response(); res.StatusCode != 500 {
				t.Error(res.StatusCode)
			}
		})
	}
}

func TestZeroConfigAnswers(t *testing.T) { onEngines(t, testZeroConfigAnswers) }

func testZeroConfigAnswers(t *testing.T) {
	_, addr := serveTCP(t, Config{})
	p := dialTCP(t, addr)
	p.send([]byte(ws(get)))
	if res, _ := p.response(); res.StatusCode != 501 {
		t.Error(res.StatusCode)
	}
	p = dialTCP(t, addr)
	p.send([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	if res, _ := p.response(); res.StatusCode != 404 {
		t.Error(res.StatusCode)
	}
}

// An Upgrade that returns without an answer is refused, not leaked.
func TestUnansweredUpgradeIsRefused(t *testing.T) { onEngines(t, testUnansweredUpgradeIsRefused) }

func testUnansweredUpgradeIsRefused(t *testing.T) {
	_, addr := serveTCP(t, Config{Upgrade: func(*Upgrade) {}})
	p := dialTCP(t, addr)
	p.send([]byte(ws(get)))
	if res, _ := p.response(); res.StatusCode != 500 {
		t.Error(res.StatusCode)
	}
}
