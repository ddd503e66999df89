//go:build linux

package load

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/livegate/livegate/bench/wsload/internal/stat"
)

// Proto says how to talk to one kind of server. Fields are templates: {ch} is a
// channel, {msg} the payload, {len} its length, {id} the name that the server
// gave the connection.
type Proto struct {
	Path     string // of a connection that only stays
	SubPath  string // of a subscriber; "" is Path
	PubPath  string // of a publisher; "" is Path
	EchoPath string // of an echo connection; "" is Path

	Binary bool        // frames sent are binary
	Pings  [][2]string // text frames to answer, and with what

	Sub      []string // frames that subscribe to {ch}
	SubReady string   // text in the frame that says so; "" is at once
	Pre      []string // frames that an echo connection or a publisher sends first
	PreReady string

	Echo  string // the frame whose answer holds {msg}
	Reply string // when the answer is always this text instead
	Pub   string // the frame that publishes {msg} on {ch}

	Ask   []string // frames that make the server tell the connection's name
	IDKey string   // the name follows this text, up to a quote

	HTTPPath   string
	HTTPHeader string // lines, each with its \r\n
	HTTPBody   string // "": it takes no HTTP publishes

	// Whole says that a message's size is that of the frame's payload, wrapping
	// included; otherwise it is that of {msg}.
	Whole bool
}

// Reply128 is what the engine template's MOCK route answers: 128 bytes.
const Reply128 = `{"reply":"` + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123" + `"}`

const plainText = "Content-Type: text/plain\r\n"

// Protos are the servers known by name.
func Protos() map[string]Proto {
	return map[string]Proto{
		// /echo answers, /sub listens, whatever is sent to /pub goes to all of /sub.
		"raw": {Path: "/sub", PubPath: "/pub", EchoPath: "/echo", Echo: "{msg}", Pub: "{msg}"},
		// bench/engine/template.yaml. A message that no route takes is answered with
		// an error frame that names the connection (the API has no $default).
		"livegate": {
			Path: "/dev",
			Sub:  []string{`{"action":"join","ch":"{ch}"}`, `{"action":"echo"}`}, SubReady: `{"reply":"`,
			Echo: `{"action":"echo","data":"{msg}"}`, Reply: Reply128,
			Pub:   `{"action":"publish","ch":"{ch}","data":"{msg}"}`,
			Ask:   []string{`{"action":"whoami"}`},
			IDKey: `"connectionId":"`, Whole: true,
			HTTPPath: "/dev/@connections/{id}", HTTPBody: "{msg}", HTTPHeader: plainText,
		},
		"nchan": {
			Path: "/sub/{ch}", HTTPPath: "/pub/{ch}", HTTPBody: "{msg}", HTTPHeader: plainText,
		},
		"centrifugo": {
			Path:  "/connection/websocket",
			Pings: [][2]string{{"{}", "{}"}},
			Sub:   []string{"{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"{ch}\"}}"}, SubReady: `"id":2,"subscribe"`,
			Echo:     `{"id":3,"publish":{"channel":"{ch}","data":"{msg}"}}`,
			Pub:      `{"id":3,"publish":{"channel":"{ch}","data":"{msg}"}}`,
			HTTPPath: "/api/publish", HTTPHeader: "X-API-Key: bench\r\nContent-Type: application/json\r\n",
			HTTPBody: `{"channel":"{ch}","data":"{msg}"}`,
		},
		"nats": {
			Path: "/", Binary: true,
			Pings: [][2]string{{"PING", "PONG\r\n"}},
			Sub:   []string{"CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB {ch} 1\r\nPING\r\n"}, SubReady: "PONG",
			Echo: "PUB {ch} {len}\r\n{msg}\r\n",
			Pub:  "PUB {ch} {len}\r\n{msg}\r\n",
		},
	}
}

// ProtoNames lists Protos.
func ProtoNames() string {
	return strings.Join(slices.Sorted(maps.Keys(Protos())), ", ")
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// fill replaces the short placeholders of a template.
func fill(t, ch, id string) string {
	if !strings.Contains(t, "{") {
		return t
	}
	return strings.NewReplacer("{ch}", ch, "{id}", escape(id)).Replace(t)
}

// escape percent-encodes all but RFC 3986's unreserved characters.
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteString("%" + string(hex[c>>4]) + string(hex[c&15]))
		}
	}
	return b.String()
}

// wrap puts msg into a frame template.
func wrap(t, ch string, msg []byte) []byte {
	t = strings.ReplaceAll(fill(t, ch, ""), "{len}", strconv.Itoa(len(msg)))
	return bytes.ReplaceAll([]byte(t), []byte("{msg}"), msg)
}

// stamped is a frame with a record in it, rewritten in place before each send.
type stamped struct {
	b  []byte
	at int // where the record begins
}

// stamp builds one for messages of size bytes.
func (p *Proto) stamp(template, ch string, size int) stamped {
	if p.Whole {
		size -= len(wrap(template, ch, nil))
	}
	mark := stat.Record{At: 1 << 40, Seq: 1, Tag: 1}
	b := wrap(template, ch, mark.Payload(size))
	var record [stat.RecordLen]byte
	mark.Put(record[:])
	return stamped{b, bytes.Index(b, record[:])}
}

func (s stamped) put(r stat.Record) []byte {
	r.Put(s.b[s.at:])
	return s.b
}

// appendPost builds one whole HTTP request. sign, when there is one, adds the
// Authorization header for that path and body.
func (p *Proto) appendPost(dst []byte, host, ch, id string, msg []byte, sign *Signer) []byte {
	body := msg
	if p.HTTPBody != "{msg}" {
		body = bytes.ReplaceAll([]byte(fill(p.HTTPBody, ch, id)), []byte("{msg}"), msg)
	}
	path := fill(p.HTTPPath, ch, id)
	dst = append(append(append(dst, "POST "...), path...), " HTTP/1.1\r\nHost: "...)
	dst = append(append(dst, host...), "\r\n"...)
	dst = append(dst, p.HTTPHeader...)
	if sign != nil {
		dst = sign.append(dst, host, path, body)
	}
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
}

// channelName is a connection's own channel.
func channelName(index int) string { return "c" + strconv.Itoa(index) }
