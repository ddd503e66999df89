//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// site is where servers find their files.
type site struct {
	livegate string // program
	apps     string // bench/engine
	peers    string // bench/peers, for ws.js
	cache    string // bench/.cache: programs in bin, node_modules in ws, logs
	quiet    string // the flag that keeps livegate from logging messages; "" for none
}

func (s *site) bin(name string) string { return filepath.Join(s.cache, "bin", name) }

// contestant is a server that the matrix can start.
type contestant struct {
	name  string
	proto string
	tls   bool
	// missing says why it cannot run here; "" when it can.
	missing func(s *site) string
	// launch is what to start, in order, in a directory of its own, with free
	// ports; the last must listen on ports[0]. A proxy names what stands behind it
	// first.
	launch func(s *site, dir string, ports []string) ([]launch, error)
	// ready, when set, is asked besides the port, and may add flags for the
	// generator.
	ready func(ctx context.Context, s *site, port string, srv *server) ([]string, error)
}

func (s *site) contestants() []contestant {
	return []contestant{
		{name: "livegate", proto: "livegate", launch: livegateOn("app"), ready: livegateReady},
		{name: "livegate-open", proto: "livegate", launch: livegateOn("app", "--profile", "open"), ready: livegateReady},
		{name: "livegate-signed", proto: "livegate", missing: program("node", "install Node.js"), launch: livegateOn("signed"), ready: signedReady},
		{name: "livegate-wss", proto: "livegate", tls: true, launch: livegateOn("app"), ready: livegateReady},
		{name: "floor", proto: "raw", missing: noFloor, launch: floorLaunch},
		{name: "nginx-wss", proto: "raw", tls: true, missing: both(program("nginx", "apt-get install nginx"), noFloor), launch: nginxLaunch},
		{name: "haproxy-wss", proto: "raw", tls: true, missing: both(program("haproxy", "apt-get install haproxy"), noFloor), launch: haproxyLaunch},
		{name: "nchan", proto: "nchan", missing: both(program("nginx", "apt-get install nginx"), noNchan), launch: nchanLaunch},
		{name: "ws", proto: "raw", missing: both(program("node", "install Node.js"), noWS), launch: wsLaunch},
		{name: "nats", proto: "nats", missing: noBinary("nats-server"), launch: natsLaunch},
		{name: "centrifugo", proto: "centrifugo", missing: noBinary("centrifugo"), launch: centrifugoLaunch},
	}
}

// --- what is missing ---

func program(name, hint string) func(*site) string {
	return func(*site) string {
		if _, err := exec.LookPath(name); err != nil {
			return name + " is not installed (" + hint + ")"
		}
		return ""
	}
}

func both(a, b func(*site) string) func(*site) string {
	return func(s *site) string {
		if why := a(s); why != "" {
			return why
		}
		return b(s)
	}
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func noFloor(s *site) string {
	if !exists(s.bin("floor")) {
		return "the floor was not built (gcc is not installed)"
	}
	return ""
}

const nchanModule = "/usr/lib/nginx/modules/ngx_nchan_module.so"

func noNchan(*site) string {
	if !exists(nchanModule) {
		return "the nginx module Nchan is not installed (apt-get install libnginx-mod-nchan)"
	}
	return ""
}

func noWS(s *site) string {
	if !exists(filepath.Join(s.cache, "ws", "node_modules", "ws")) {
		return "ws is not installed (bench/run.sh peers)"
	}
	return ""
}

func noBinary(name string) func(*site) string {
	return func(s *site) string {
		if s.find(name) == "" {
			return name + " is not installed (bench/run.sh peers, or put it on PATH or into bench/.cache/bin)"
		}
		return ""
	}
}

// find is a program in the cache or on PATH; "" when there is none.
func (s *site) find(name string) string {
	if path := s.bin(name); exists(path) {
		return path
	}
	path, _ := exec.LookPath(name)
	return path
}

// --- livegate ---

func livegateOn(app string, more ...string) func(s *site, dir string, ports []string) ([]launch, error) {
	return func(s *site, dir string, ports []string) ([]launch, error) {
		argv := []string{s.livegate, "dev", filepath.Join(s.apps, app), "--port", ports[0], "--no-watch", "--data-dir", filepath.Join(dir, "state")}
		if s.quiet != "" {
			argv = append(argv, s.quiet)
		}
		argv = append(argv, more...)
		// Its user directory too: a benchmark leaves nothing in anybody's home.
		return []launch{{Dir: dir, Argv: argv, Env: append(unthrottled(), "XDG_DATA_HOME="+filepath.Join(s.cache, "home"))}}, nil
	}
}

// unthrottled raises AWS's account quotas (10 000 requests and 500 connections a
// second) out of reach. They stay on, so that what they cost is measured.
func unthrottled() []string {
	return []string{"LIVEGATE_REQUEST_RATE=1000000000", "LIVEGATE_CONNECT_RATE=1000000000"}
}

func livegateReady(ctx context.Context, _ *site, port string, srv *server) ([]string, error) {
	return nil, srv.awaitSocket(ctx, "ws://127.0.0.1:"+port+"/dev", time.Minute)
}

// signedReady asks the application for its worker's credentials.
func signedReady(ctx context.Context, s *site, port string, srv *server) ([]string, error) {
	if _, err := livegateReady(ctx, s, port, srv); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://127.0.0.1:"+port+"/dev", nil) //nolint:bodyclose // coder closes it
	if err != nil {
		return nil, err
	}
	defer c.CloseNow()
	if err := c.Write(ctx, websocket.MessageText, []byte(`{"action":"keys"}`)); err != nil {
		return nil, err
	}
	_, answer, err := c.Read(ctx)
	if err != nil {
		return nil, err
	}
	var keys struct{ Key, Secret, Token string }
	if err := json.Unmarshal(answer, &keys); err != nil || keys.Key == "" {
		return nil, fmt.Errorf("the route keys answered %.200s", answer)
	}
	key := keys.Key + ":" + keys.Secret
	if keys.Token != "" {
		key += ":" + keys.Token
	}
	return []string{"-key", key}, nil
}

// quietFlag finds how this livegate is kept from logging each message.
func quietFlag(ctx context.Context, livegate string) string {
	help, err := exec.CommandContext(ctx, livegate, "dev", "--help").Output()
	if err != nil {
		return ""
	}
	for _, flag := range []string{"--quiet", "--no-log", "--no-logs"} {
		if strings.Contains(string(help), flag+" ") {
			return flag
		}
	}
	return ""
}

// --- the floor and the peers ---

func floorLaunch(s *site, dir string, ports []string) ([]launch, error) {
	return []launch{{Dir: dir, Argv: []string{s.bin("floor"), ports[0]}}}, nil
}

func wsLaunch(s *site, _ string, ports []string) ([]launch, error) {
	return []launch{{Dir: filepath.Join(s.cache, "ws"), Argv: []string{"node", "ws.js", ports[0]}}}, nil
}

func natsLaunch(s *site, dir string, ports []string) ([]launch, error) {
	conf := fmt.Sprintf("listen: 127.0.0.1:%s\nwebsocket { listen: \"127.0.0.1:%s\", no_tls: true, compression: false }\n", ports[1], ports[0])
	file := filepath.Join(dir, "nats.conf")
	return []launch{{Dir: dir, Argv: []string{s.find("nats-server"), "-c", file}}}, os.WriteFile(file, []byte(conf), 0o600)
}

func centrifugoLaunch(s *site, dir string, ports []string) ([]launch, error) {
	conf := `{"client":{"insecure":true},"http_server":{"address":"127.0.0.1","port":"` + ports[0] + `"},"http_api":{"key":"bench"},` +
		`"channel":{"without_namespace":{"allow_subscribe_for_client":true,"allow_publish_for_client":true}},"log":{"level":"error"}}`
	file := filepath.Join(dir, "centrifugo.json")
	return []launch{{Dir: dir, Argv: []string{s.find("centrifugo"), "-c", file}}}, os.WriteFile(file, []byte(conf), 0o600)
}

// nginxConf is what both uses of nginx share. Temporary files stay in dir.
func nginxConf(dir, top, server string) string {
	temp := ""
	for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += what + "_temp_path " + filepath.Join(dir, what) + ";\n"
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n" // the directory is ours alone
	}
	return top + user + "daemon off;\nworker_processes 1;\nworker_rlimit_nofile 20000;\npid " + filepath.Join(dir, "nginx.pid") + ";\n" +
		"error_log stderr crit;\nevents { worker_connections 19900; multi_accept on; }\nhttp {\naccess_log off;\nkeepalive_requests 100000000;\n" + temp + server + "}\n"
}

func nginxOn(dir, conf string) (launch, error) {
	file := filepath.Join(dir, "nginx.conf")
	return launch{Dir: dir, Argv: []string{"nginx", "-p", dir, "-e", "stderr", "-c", file}}, os.WriteFile(file, []byte(conf), 0o600)
}

func nchanLaunch(_ *site, dir string, ports []string) ([]launch, error) {
	conf := nginxConf(dir, "load_module "+nchanModule+";\n", `nchan_max_reserved_memory 512M;
server {
  listen 127.0.0.1:`+ports[0]+` backlog=4096;
  location ~ ^/sub/(.+)$ { nchan_subscriber websocket; nchan_channel_id $1; nchan_subscriber_first_message newest; nchan_websocket_ping_interval 0; }
  location ~ ^/pub/(.+)$ { nchan_publisher http; nchan_channel_id $1; nchan_message_buffer_length 2; nchan_message_timeout 10s; }
}
`)
	l, err := nginxOn(dir, conf)
	return []launch{l}, err
}

// nginxLaunch is nginx as a wss terminator before the floor.
func nginxLaunch(s *site, dir string, ports []string) ([]launch, error) {
	cert, key, err := certificate(dir)
	if err != nil {
		return nil, err
	}
	conf := nginxConf(dir, "", `upstream b { server 127.0.0.1:`+ports[1]+`; }
server {
  listen 127.0.0.1:`+ports[0]+` ssl backlog=4096;
  ssl_certificate `+cert+`; ssl_certificate_key `+key+`;
  ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; ssl_ecdh_curve X25519;
  location / { proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_read_timeout 1h; }
}
`)
	front, err := nginxOn(dir, conf)
	back, _ := floorLaunch(s, dir, ports[1:])
	return append(back, front), err
}

func haproxyLaunch(s *site, dir string, ports []string) ([]launch, error) {
	cert, key, err := certificate(dir)
	if err != nil {
		return nil, err
	}
	pair := filepath.Join(dir, "pair.pem")
	c, err1 := os.ReadFile(cert)
	k, err2 := os.ReadFile(key)
	file := filepath.Join(dir, "haproxy.cfg")
	conf := `global
  nbthread 1
  maxconn 9500
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
frontend f
  bind 127.0.0.1:` + ports[0] + ` ssl crt ` + pair + ` ssl-min-ver TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256 curves X25519
  default_backend b
backend b
  server s 127.0.0.1:` + ports[1] + `
`
	back, _ := floorLaunch(s, dir, ports[1:])
	return append(back, launch{Dir: dir, Argv: []string{"haproxy", "-db", "-f", file}}),
		errors.Join(err1, err2, os.WriteFile(pair, append(c, k...), 0o600), os.WriteFile(file, []byte(conf), 0o600))
}

// certificate makes a self-signed ECDSA P-256 pair, the kind that livegate serves.
func certificate(dir string) (cert, key string, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &k.PublicKey, k)
	if err != nil {
		return "", "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return "", "", err
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	return cert, key, errors.Join(
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// standing is a contestant that runs.
type standing struct {
	servers []*server
	addr    string
	flags   []string // for the generator
}

func (s *standing) stop() {
	for i := len(s.servers) - 1; i >= 0; i-- {
		s.servers[i].stop()
	}
}

// start brings a contestant up on processors cpu with at most files descriptors.
func (c *contestant) start(ctx context.Context, s *site, cpu string, files int) (up *standing, err error) {
	dir, err := os.MkdirTemp(s.cache, "run-")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(ctx, 3)
	if err != nil {
		return nil, err
	}
	launches, err := c.launch(s, dir, ports)
	if err != nil {
		return nil, err
	}
	up = &standing{addr: "127.0.0.1:" + ports[0]}
	defer func() {
		if err != nil {
			up.stop()
			up = nil
		}
	}()
	log, err := os.Create(filepath.Join(s.cache, "logs", c.name+".log"))
	if err != nil {
		return up, err
	}
	defer log.Close()
	var pids []string
	for _, l := range launches {
		l.CPU, l.Err, l.Open = cpu, log, files
		srv, err := l.start()
		if err != nil {
			return up, err
		}
		srv.dir = dir
		up.servers = append(up.servers, srv)
		pids = append(pids, strconv.Itoa(srv.pid()))
	}
	last := up.servers[len(up.servers)-1]
	up.flags = []string{"-addr", up.addr, "-proto", c.proto, "-pid", strings.Join(pids, ",")}
	if len(pids) > 1 {
		up.flags = append(up.flags, "-front", pids[len(pids)-1])
	}
	if c.tls {
		up.flags = append(up.flags, "-tls")
	}
	if err := last.awaitPort(ctx, up.addr, time.Minute); err != nil {
		return up, fmt.Errorf("%s: %w; see %s", c.name, err, log.Name())
	}
	if c.ready != nil {
		more, err := c.ready(ctx, s, ports[0], last)
		if err != nil {
			return up, fmt.Errorf("%s: %w; see %s", c.name, err, log.Name())
		}
		up.flags = append(up.flags, more...)
	}
	return up, pause(ctx, 300*time.Millisecond)
}
