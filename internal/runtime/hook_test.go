package runtime

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/model"
)

// home is a server that plays livegate's one port: TLS (h2 and http/1.1) for any
// intercepted name on one listener. It answers with what it saw.
func home(t *testing.T, names ...string) (address, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), DNSNames: names, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(seen))
	srv.EnableHTTP2 = true
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return srv.Listener.Addr().String(), ca
}

// seen answers every AWS protocol at once: the body is JSON that DynamoDB's and
// Lambda's clients accept and that shows what arrived.
func seen(w http.ResponseWriter, r *http.Request) {
	sni := ""
	if r.TLS != nil {
		sni = r.TLS.ServerName
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	json.NewEncoder(w).Encode(map[string]any{
		"sni": sni, "host": r.Host, "proto": r.Proto, "path": r.URL.Path,
		"key": key(r), "TableNames": []string{r.Host + " " + key(r)},
	})
}

// key is the access key id of the SigV4 header.
func key(r *http.Request) string {
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	id, _, _ := strings.Cut(rest, "/")
	return id
}

const hookCode = `
	const https = require('https'), http = require('http'), http2 = require('http2'), tls = require('tls'), net = require('net');
	const get = (mod, url, options) => new Promise((resolve, reject) => {
		mod.get(url, options || {}, (res) => { let s = ''; res.on('data', (d) => s += d); res.on('end', () => resolve(s)); }).on('error', reject);
	});
	const agent = new https.Agent({ keepAlive: true });
	const ways = {
		request: (e) => get(https, e.url),
		agent: async (e) => { await get(https, e.url, { agent }); return get(https, e.url, { agent }); },
		plain: (e) => get(http, e.url),
		// Before Node 18 there is no fetch to divert.
		fetch: async (e) => typeof fetch === 'function' ? (await fetch(e.url)).text() : ways.request(e),
		http2: (e) => new Promise((resolve, reject) => {
			const session = http2.connect(e.url);
			const req = session.request({ ':path': '/over-h2' });
			let s = '';
			req.setEncoding('utf8');
			req.on('data', (d) => s += d);
			// Before Node 18 a stream that fails ends first.
			req.on('end', () => { session.close(); if (s) resolve(s); });
			req.on('error', reject);
			session.on('error', reject);
			req.end();
		}),
		positional: (e) => new Promise((resolve, reject) => {
			const socket = tls.connect(443, new URL(e.url).hostname, {}, () => { resolve(JSON.stringify({ sni: socket.servername, authorized: socket.authorized })); socket.destroy(); });
			socket.on('error', reject);
		}),
		net: (e) => new Promise((resolve, reject) => {
			const socket = net.connect(80, new URL(e.url).hostname, () => { resolve('connected'); socket.destroy(); });
			socket.on('error', reject);
		}),
		fork: (e) => new Promise((resolve, reject) => {
			const child = require('child_process').fork(__dirname + '/child.js', [e.url]);
			child.on('message', resolve);
			child.on('error', reject);
		}),
		worker: (e) => new Promise((resolve, reject) => {
			const { Worker } = require('worker_threads');
			const worker = new Worker(__dirname + '/child.js', { argv: [e.url] });
			worker.on('message', resolve);
			worker.on('error', reject);
		}),
	};
	exports.handler = async (e) => {
		try {
			const text = await ways[e.way](e);
			try { return JSON.parse(text); } catch (err) { return text; }
		} catch (err) {
			return { error: err.message + (err.cause ? ' / ' + err.cause.message : ''), code: err.code || (err.cause && err.cause.code) };
		}
	};
`

const hookChild = `
	const https = require('https');
	const report = (m) => process.send ? process.send(m, () => process.exit(0)) : require('worker_threads').parentPort.postMessage(m);
	https.get(process.argv[2], (res) => { let s = ''; res.on('data', (d) => s += d); res.on('end', () => report(s)); })
		.on('error', (err) => report(JSON.stringify({ error: err.message })));
`

const execAPI = "k3v9x1m2qz.execute-api.eu-west-1.amazonaws.com"

func hookStand(t *testing.T, hook HookConfig, ca string) *stand {
	t.Helper()
	need(t, "node")
	files := js(hookCode)
	files["child.js"] = hookChild
	files["esm/index.mjs"] = `
		import { connect } from 'node:tls';
		import * as https from 'node:https';
		export const handler = (e) => new Promise((resolve, reject) => {
			const socket = connect({ host: e.host, port: 443, servername: e.host }, () => { resolve(socket.authorized); socket.destroy(); });
			socket.on('error', reject);
		});
	`
	return newStand(t, Config{Hook: hook, Env: func(Worker) []string { return []string{"NODE_EXTRA_CA_CERTS=" + ca} }},
		files, &model.Function{}, &model.Function{Name: "esm", CodeDir: "esm"})
}

func TestHookDivertsTLS(t *testing.T) {
	address, ca := home(t, "*.execute-api.eu-west-1.amazonaws.com", "ws.example.test", "a.wild.test", "*.lambda-url.eu-west-1.on.aws")
	s := hookStand(t, HookConfig{Divert: address, Suffixes: []string{".amazonaws.com", ".on.aws"}, Hosts: []string{"ws.example.test", "*.wild.test"}}, ca)
	type answer struct{ SNI, Host, Proto, Path, Error string }
	ask := func(way, url string) (a answer) {
		t.Helper()
		res := s.call("fn", fmt.Sprintf(`{"way":%q,"url":%q}`, way, url))
		if err := json.Unmarshal(res.Payload, &a); err != nil {
			t.Fatalf("%s %s: %s", way, url, res.Payload)
		}
		return a
	}
	for _, way := range []string{"request", "agent", "fetch", "http2", "fork", "worker"} {
		for _, host := range []string{execAPI, "ws.example.test", "a.wild.test"} {
			a := ask(way, "https://"+host+"/dev/x")
			if a.SNI != host || strings.TrimSuffix(a.Host, ":443") != host { // Node writes the port into :authority
				t.Errorf("%s to %s: %+v", way, host, a)
			}
			if way == "http2" && a.Proto != "HTTP/2.0" || way == "request" && a.Proto != "HTTP/1.1" {
				t.Errorf("%s spoke %s", way, a.Proto)
			}
		}
	}
	if a := ask("positional", "https://"+execAPI+"/"); a.SNI != execAPI {
		t.Errorf("tls.connect(port, host, …) = %+v", a)
	}
	s.want("esm", `{"host":"`+execAPI+`"}`, "true")
}

// A template that gains a custom domain while livegate runs.
func TestHookLearnsDomains(t *testing.T) {
	address, ca := home(t, "new.example.test")
	s := hookStand(t, HookConfig{Divert: address, Offline: true}, ca)
	ask := func() string {
		return string(s.call("fn", `{"way":"request","url":"https://new.example.test/"}`).Payload)
	}
	if got := ask(); !strings.Contains(got, "ERR_LIVEGATE_OFFLINE") {
		t.Fatalf("before: %s", got)
	}
	with := *s.app
	with.Domains = []*model.Domain{{Name: "new.example.test"}}
	if err := s.Deploy(t.Context(), &with); err != nil {
		t.Fatal(err)
	}
	if got := ask(); !strings.Contains(got, `"sni":"new.example.test"`) {
		t.Errorf("after: %s", got)
	}
}

func TestHookOfflineAndMappedHosts(t *testing.T) {
	address, ca := home(t, "api.example.test", "*.execute-api.eu-west-1.amazonaws.com")
	fixture := httptest.NewServer(http.HandlerFunc(seen))
	t.Cleanup(fixture.Close)
	s := hookStand(t, HookConfig{
		Divert: address, Suffixes: []string{".amazonaws.com"}, Offline: true,
		MapHost: map[string]string{"api.example.test": fixture.Listener.Addr().String()},
	}, ca)
	ask := func(way, url string) string {
		t.Helper()
		return string(s.call("fn", fmt.Sprintf(`{"way":%q,"url":%q}`, way, url)).Payload)
	}
	for _, way := range []string{"request", "agent", "fetch", "http2"} {
		got := ask(way, "https://other.example.test/")
		if !strings.Contains(got, "other.example.test:443") || !strings.Contains(got, "--offline") {
			t.Errorf("%s while offline = %s", way, got)
		}
	}
	for _, way := range []string{"plain", "net"} {
		if got := ask(way, "http://other.example.test/"); !strings.Contains(got, "other.example.test:80") || !strings.Contains(got, "--offline") {
			t.Errorf("%s while offline = %s", way, got)
		}
	}
	// TLS to a fixture ends at livegate; plain HTTP goes straight there.
	if got := ask("request", "https://api.example.test/v1"); !strings.Contains(got, `"sni":"api.example.test"`) {
		t.Errorf("TLS to a mapped host = %s", got)
	}
	if got := ask("plain", "http://api.example.test/v1"); !strings.Contains(got, `"host":"api.example.test"`) || !strings.Contains(got, `"sni":""`) {
		t.Errorf("plain HTTP to a mapped host = %s", got)
	}
	if got := ask("plain", fixture.URL+"/local"); !strings.Contains(got, `"path":"/local"`) {
		t.Errorf("loopback while offline = %s", got)
	}
	if got := ask("request", "https://"+execAPI+"/dev"); !strings.Contains(got, execAPI) {
		t.Errorf("intercepted host while offline = %s", got)
	}
}

// The SDKs are installed once into the user's cache; without network and without
// them the test says so.
func TestHookWithSDKs(t *testing.T) {
	need(t, "node")
	need(t, "npm")
	if testing.Short() {
		t.Skip("-short: installs the AWS SDKs")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	address, ca := home(t, "dynamodb.eu-west-1.amazonaws.com", "*.execute-api.eu-west-1.amazonaws.com")
	files := map[string]string{
		"v2/index.js": `
			const AWS = require('aws-sdk');
			require('aws-sdk/lib/node_loader');
			const core = require('aws-sdk/lib/core');
			exports.handler = async (e) => {
				const api = new AWS.ApiGatewayManagementApi({ apiVersion: '2018-11-29', endpoint: '` + execAPI + `/dev' });
				await api.postToConnection({ ConnectionId: 'X-1_a=', Data: 'hi' }).promise();
				const out = await new AWS.DynamoDB().listTables().promise();
				return [typeof core.Service, out.TableNames[0]];
			};`,
		// callback style with the SDK's keep-alive sockets: the loop must still empty
		"callback/index.js": `
			process.env.AWS_NODEJS_CONNECTION_REUSE_ENABLED = '1';
			const AWS = require('aws-sdk');
			const db = new AWS.DynamoDB();
			exports.handler = (e, context, callback) => {
				db.listTables({}, (err, out) => callback(err, out && out.TableNames[0]));
			};`,
		"v3/package.json": `{"type":"module","dependencies":{"@aws-sdk/client-dynamodb":"^3.0.0","@aws-sdk/lib-dynamodb":"^3.0.0"}}`,
		"v3/app.js": `
			import { DynamoDBClient, ListTablesCommand } from '@aws-sdk/client-dynamodb';
			import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
			import { ApiGatewayManagementApiClient, PostToConnectionCommand } from '@aws-sdk/client-apigatewaymanagementapi';
			const client = new DynamoDBClient({});
			export const handler = async () => {
				const api = new ApiGatewayManagementApiClient({ endpoint: 'https://` + execAPI + `/dev' });
				await api.send(new PostToConnectionCommand({ ConnectionId: 'X-1_a=', Data: 'hi' }));
				const out = await client.send(new ListTablesCommand({}));
				return [typeof DynamoDBDocumentClient.from, out.TableNames[0]];
			};`,
		"bundle/src/app.ts": `
			import { DynamoDBClient, ListTablesCommand } from '@aws-sdk/client-dynamodb';
			const client = new DynamoDBClient({});
			export const handler = async (): Promise<unknown> => ['function', (await client.send(new ListTablesCommand({}))).TableNames![0]];`,
	}
	bundled := &model.Function{Name: "bundle", CodeDir: "bundle", Handler: "app.handler", Build: model.Build{Method: "esbuild",
		Properties: map[string]string{"Format": "esm", "Target": "es2020", "Minify": "true", "Sourcemap": "true"},
		Lists:      map[string][]string{"EntryPoints": {"src/app.ts"}, "OutExtension": {".js=.mjs"}}}}
	var steps []Progress
	cfg := Config{
		CacheDir: filepath.Join(cache, "livegate"),
		Hook:     HookConfig{Divert: address, Suffixes: []string{".amazonaws.com"}},
		Env:      func(Worker) []string { return []string{"NODE_EXTRA_CA_CERTS=" + ca} },
		Progress: func(p Progress) { steps = append(steps, p) },
	}
	s := prepareStand(t, cfg, files, &model.Function{Name: "v2", CodeDir: "v2", Runtime: "nodejs12.x"}, &model.Function{Name: "callback", CodeDir: "callback"},
		&model.Function{Name: "v3", CodeDir: "v3", Handler: "app.handler"}, bundled)
	if err := s.Deploy(t.Context(), s.app); err != nil {
		t.Skipf("the SDKs cannot be installed here: %v", err)
	}
	for _, name := range []string{"v2", "v3", "bundle"} {
		res := s.call(name, "{}")
		if want := `["function","dynamodb.eu-west-1.amazonaws.com ASIA`; !strings.HasPrefix(string(res.Payload), want) {
			t.Errorf("%s = %s, want %s…\n%s", name, res.Payload, want, s.text())
		}
	}
	begin := time.Now()
	for range 3 {
		if res := s.call("callback", "{}"); res.FunctionError != "" {
			t.Errorf("callback = %s", res.Payload)
		}
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("callback handlers with keep-alive took %s", took)
	}
	s.line("nodejs12.x runs on Node ")
	if len(steps) > 2 {
		t.Errorf("more was built than the SDK: %+v", steps)
	}
	if strings.Contains(s.text(), "NodeDeprecationWarning") || strings.Contains(s.text(), "maintenance") {
		t.Errorf("the SDKs complain about their versions:\n%s", s.text())
	}
}
