package intercept

import (
	"os/exec"
	"strings"
	"testing"
)

// run executes a client with a worker's environment, or skips, saying so.
func (k *kit) run(name string, args ...string) string {
	k.t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		k.t.Skipf("%s is not installed: this client is not tested here", name)
	}
	cmd := exec.CommandContext(k.t.Context(), path, args...)
	cmd.Env = k.env()
	out, err := cmd.CombinedOutput()
	if err != nil {
		k.t.Logf("%s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

func TestCurl(t *testing.T) {
	k := newKit(t, Config{Offline: true})
	if got := k.run("curl", "-sS", "https://abc.execute-api.us-east-1.amazonaws.com/dev"); got != "local abc.execute-api.us-east-1.amazonaws.com GET /dev" {
		t.Error(got)
	}
	if got := k.run("curl", "-sS", "https://api.example.org/"); !strings.Contains(got, "403") {
		t.Error(got)
	}
}

func TestBoto3(t *testing.T) {
	k := newKit(t, Config{Offline: true})
	if out := k.run("python3", "-c", "import boto3"); out != "" {
		t.Skip("boto3 is not installed: it is not tested here")
	}
	const script = `
import boto3
s = boto3.Session(aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="x")
print(s.client("sts").get_caller_identity()["Account"])                       # AWS_ENDPOINT_URL
import os; del os.environ["AWS_ENDPOINT_URL"]
print(s.client("sts").get_caller_identity()["Account"])                       # HTTPS_PROXY, AWS_CA_BUNDLE
`
	if got := k.run("python3", "-c", script); got != "000000000000\n000000000000" {
		t.Error(got)
	}
	const refused = `
import urllib.request
try:
    urllib.request.urlopen("https://api.example.org/")
except OSError as e:
    print(e)
`
	if got := k.run("python3", "-c", refused); !strings.Contains(got, "403 Livegate: not allowed, see its log") {
		t.Error(got)
	}
}

// Node's https has no proxy support: what it needs from us is a certificate it
// trusts inside the tunnel, here opened by hand.
func TestNodeThroughTunnel(t *testing.T) {
	k := newKit(t, Config{Offline: true})
	const script = `
const http = require('http'), https = require('https'), u = new URL(process.env.HTTPS_PROXY);
http.request({host: u.hostname, port: u.port, method: 'CONNECT', path: 'dynamodb.us-east-1.amazonaws.com:443',
  headers: {'Proxy-Authorization': 'Basic ' + Buffer.from(decodeURIComponent(u.username) + ':' + decodeURIComponent(u.password)).toString('base64')}})
.on('connect', (res, socket) => https.get({socket, agent: false, host: 'dynamodb.us-east-1.amazonaws.com', path: '/t'},
  r => { r.pipe(process.stdout); r.on('end', () => socket.destroy()) }).on('error', e => { console.log(e.code); socket.destroy() })).end()
`
	if got := k.run("node", "-e", script); got != "local dynamodb.us-east-1.amazonaws.com GET /t" {
		t.Error(got)
	}
}
