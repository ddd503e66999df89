package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/fault"
)

// dialing is how connect reaches a server.
type dialing struct {
	protocols []string
	headers   []string
	ca        string
	insecure  bool
	timeout   time.Duration
}

func (c *cli) connectCommand() *cobra.Command {
	var d dialing
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "connect [URL]",
		Short: "Talk to a WebSocket server, line by line",
		Long: `Connect to a WebSocket URL and send each line as a message. Without a URL, connect
to the running application's only stage.

On a terminal: arrow keys edit and recall lines, /help lists commands, Ctrl-C or
Ctrl-D closes. With input from a pipe, each line is sent, answers go to standard
output one per line, and the connection is closed --wait after the last line.`,
		Example: "  livegate connect ws://localhost:3001/Prod\n  echo '{\"action\":\"ping\"}' | livegate connect ws://localhost:3001/Prod --wait 2s\n  livegate connect wss://localhost:3001/Prod -H \"Authorization: Bearer abc\" --subprotocol graphql-ws",
		Args:    atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			target := ""
			if len(args) == 1 {
				target = args[0]
			}
			return c.connect(cmd.Context(), target, d, wait)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&d.protocols, "subprotocol", nil, "offer a subprotocol; may be repeated")
	f.StringArrayVarP(&d.headers, "header", "H", nil, `send a header, "Name: value"; may be repeated`)
	f.StringVar(&d.ca, "ca", "", "PEM file of certificates to trust besides the system's (default: the local instance's CA for local wss)")
	f.BoolVar(&d.insecure, "insecure", false, "do not check the server's certificate")
	f.DurationVar(&d.timeout, "timeout", 30*time.Second, "give up the handshake after this long")
	f.DurationVar(&wait, "wait", time.Second, "with piped input: wait for answers this long after the last line")
	return cmd
}

func (c *cli) connect(ctx context.Context, target string, d dialing, wait time.Duration) error {
	u, err := c.target(ctx, target)
	if err != nil {
		return err
	}
	opts, err := c.dialOptions(u, d)
	if err != nil {
		return err
	}
	t := newTalk(c, u.String(), wait)
	conn, err := dial(ctx, u, opts, d.timeout)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(-1) // we are the user's eyes: no limit of our own
	if f, ok := c.in.(*os.File); ok && isTerminal(f) && c.look(c.out).Interactive {
		return t.interactive(ctx, conn, f)
	}
	return t.piped(ctx, conn)
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// target makes a URL out of what was typed: http(s) means ws(s), no scheme means
// ws, nothing means the running instance's only stage.
func (c *cli) target(ctx context.Context, text string) (*url.URL, error) {
	if text == "" {
		return c.onlyStage(ctx)
	}
	if !strings.Contains(text, "://") {
		text = "ws://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, usagef("%q is not a URL: %v", text, err)
	}
	switch strings.ToLower(u.Scheme) {
	case "ws", "http":
		u.Scheme = "ws"
	case "wss", "https":
		u.Scheme = "wss"
	default:
		return nil, usagef("%s: want ws:// or wss://", text)
	}
	if u.Host == "" {
		return nil, usagef("%s: the host is missing", text)
	}
	u.Fragment = "" // RFC 6455 §3: a WebSocket URL has none
	return u, nil
}

func (c *cli) onlyStage(ctx context.Context) (*url.URL, error) {
	in, err := c.instance()
	if err != nil {
		return nil, err
	}
	s, err := in.Status(ctx)
	if err != nil {
		return nil, err
	}
	var urls []string
	for _, api := range s.APIs {
		for _, st := range api.Stages {
			urls = append(urls, st.WebSocketURL)
		}
	}
	switch len(urls) {
	case 0:
		return nil, fault.New(fault.NotFound, "%s has no WebSocket stage to connect to", s.Stack)
	case 1:
		return url.Parse(urls[0])
	}
	return nil, &usageError{msg: "which stage?", hint: "livegate connect " + strings.Join(urls, "\nlivegate connect ")}
}

func (c *cli) dialOptions(u *url.URL, d dialing) (*websocket.DialOptions, error) {
	opts := &websocket.DialOptions{Subprotocols: d.protocols, HTTPHeader: http.Header{}}
	for _, h := range d.headers {
		name, value, ok := strings.Cut(h, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" || strings.ContainsFunc(name, notToken) || strings.ContainsAny(value, "\r\n\x00") {
			return nil, usagef("--header %q: want \"Name: value\"", h)
		}
		if strings.EqualFold(name, "Host") {
			opts.Host = value
			continue
		}
		opts.HTTPHeader.Add(name, value)
	}
	roots, err := c.roots(u, d.ca)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, InsecureSkipVerify: d.insecure}, // #nosec G402 -- only when the user says --insecure
	}
	if !local(u.Hostname()) {
		transport.Proxy = http.ProxyFromEnvironment
	}
	opts.HTTPClient = &http.Client{Transport: transport}
	return opts, nil
}

// notToken reports what cannot stand in a header name (RFC 9110 §5.6.2).
func notToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

// roots are the system's certificates and --ca, or the CA of an instance that
// runs here when the server is local.
func (c *cli) roots(u *url.URL, ca string) (*x509.CertPool, error) {
	if u.Scheme != "wss" {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a container without certificates
	}
	files := []string{ca}
	if ca == "" {
		files = c.localCAs(u.Hostname())
	}
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err != nil {
			if ca == "" {
				continue // the instance ended meanwhile
			}
			return nil, usagef("--ca: %v", err)
		}
		if !pool.AppendCertsFromPEM(pem) && ca != "" {
			return nil, usagef("--ca %s holds no PEM certificate", ca)
		}
	}
	return pool, nil
}

func (c *cli) localCAs(host string) []string {
	data, cache, err := c.dirs("")
	if err != nil || !local(host) {
		return nil
	}
	var files []string
	if run, err := client.ReadRunFile(data); err == nil {
		files = append(files, run.CAFile)
	}
	all, err := client.List(cache)
	if err != nil {
		return files
	}
	for _, run := range all {
		files = append(files, run.CAFile)
	}
	return files
}

// local reports names that can only mean this machine.
func local(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// dial does the handshake. A refusal shows the status and the body: that is where
// an authorizer's or a function's answer is.
func dial(ctx context.Context, u *url.URL, opts *websocket.DialOptions, timeout time.Duration) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fault.New(fault.Timeout, "no answer from %s within %v", u.Host, timeout))
	defer cancel()
	if strings.HasSuffix(u.Hostname(), ".localhost") {
		// Resolvers differ on names under localhost; RFC 6761 §6.3 does not.
		opts.HTTPClient.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort("localhost", port))
		}
	}
	conn, resp, err := websocket.Dial(ctx, u.String(), opts)
	if err == nil {
		return conn, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if resp != nil {
		return nil, refused(resp, err)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	switch {
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return nil, fault.New(fault.Unavailable, "the certificate of %s is not trusted: %v; name its CA with --ca", u.Host, errors.Unwrap(err))
	case errors.As(err, new(tls.RecordHeaderError)), strings.Contains(err.Error(), "HTTP response to HTTPS"): // net/http hides the former
		return nil, fault.New(fault.Unavailable, "%s does not speak TLS on this port: try ws://", u.Host)
	}
	return nil, fault.New(fault.Unavailable, "cannot connect to %s: %v", u.Host, err)
}

func refused(resp *http.Response, err error) error {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return fault.New(fault.Upstream, "the handshake answer breaks the protocol: %v", err)
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // whatever arrived is worth showing
	text := strings.TrimSpace(string(body))
	if text != "" {
		text = "\n" + text
	}
	return fault.New(fault.Forbidden, "the handshake was refused: HTTP %s%s", resp.Status, text)
}

// describeClose says how a connection ended, and whether that is a failure.
func describeClose(err error) (text string, failed bool) {
	if e, ok := errors.AsType[websocket.CloseError](err); ok {
		code := int(e.Code)
		text = fmt.Sprintf("closed by the server: %d", code)
		if name := closeName(code); name != "" {
			text += " (" + name + ")"
		}
		if e.Reason != "" {
			text += ": " + e.Reason
		}
		return text, code != 1000 && code != 1001 && code != 1005
	}
	return fmt.Sprintf("connection lost: 1006 (%s): %v", closeName(1006), err), true
}

// closeName is the short name of a close code (RFC 6455 §7.4.1, IANA registry).
func closeName(code int) string {
	switch code {
	case 1000:
		return "normal"
	case 1001:
		return "going away"
	case 1002:
		return "protocol error"
	case 1003:
		return "unsupported data"
	case 1005:
		return "no status"
	case 1006:
		return "abnormal"
	case 1007:
		return "invalid data"
	case 1008:
		return "policy violation"
	case 1009:
		return "message too big"
	case 1010:
		return "missing extension"
	case 1011:
		return "internal error"
	case 1012:
		return "service restart"
	case 1013:
		return "try again later"
	}
	return ""
}
