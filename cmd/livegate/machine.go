package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/livegate/livegate/internal/client"
)

// machine checks ports, limits and disks.
func (c *cli) machine(data, cache string, port int) []check {
	return []check{c.portCheck(data, cache, port), openFiles(), freeSpace("state", data), freeSpace("cache", cache)}
}

func (c *cli) portCheck(data, cache string, port int) check {
	ch := check{Group: "Machine", Name: "port", State: stateOK, Detail: fmt.Sprintf("%d is free", port)}
	if portFree(port) {
		return ch
	}
	if run, err := client.Find(data, cache); err == nil && strings.HasSuffix(run.URL, fmt.Sprintf(":%d", port)) {
		ch.Detail = fmt.Sprintf("%d is livegate's own: %s, pid %d", port, run.Stack, run.PID)
		return ch
	}
	holder := portHolder(port)
	if holder == "" {
		holder = "another process"
	}
	ch.State, ch.Detail = stateProblem, fmt.Sprintf("%d is in use by %s", port, holder)
	ch.Fix = fmt.Sprintf("stop it, or use another: livegate dev --port %d", port+1)
	return ch
}

// enoughFiles is what a busy day of development needs: clients, workers, tables.
const enoughFiles = 4096

// openFiles looks at the limit that a Go process ends up with: the runtime raises
// the soft limit to the hard one at start.
func openFiles() check {
	ch := check{Group: "Machine", Name: "open files", State: stateOK}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		ch.State, ch.Detail = stateProblem, "cannot read the limit: "+err.Error()
		return ch
	}
	ch.Detail = fmt.Sprintf("limit %d", limit.Max)
	if limit.Max < enoughFiles {
		ch.State, ch.Fix = stateProblem, fmt.Sprintf("raise the hard limit: ulimit -Hn %d, or LimitNOFILE=/limits.conf for this user", enoughFiles)
	}
	return ch
}

const enoughSpace = 1 << 30 // SDKs take some 150 MB, builds and tables the rest

// freeSpace checks the disk of the nearest directory that exists, and that it can
// be written.
func freeSpace(name, dir string) check {
	ch := check{Group: "Machine", Name: name + " dir", State: stateOK}
	at := dir
	for {
		if st, err := os.Stat(at); err == nil && st.IsDir() {
			break
		}
		parent := filepath.Dir(at)
		if parent == at {
			break
		}
		at = parent
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(at, &fs); err != nil {
		ch.State, ch.Detail = stateProblem, fmt.Sprintf("%s: %v", at, err)
		return ch
	}
	free := int64(fs.Bavail) * int64(fs.Bsize) //nolint:unconvert // Bsize is uint32 on macOS
	ch.Detail = fmt.Sprintf("%s, %s free", dir, humanBytes(free))
	switch {
	case syscall.Access(at, 2) != nil: // W_OK
		ch.State, ch.Detail = stateProblem, fmt.Sprintf("%s cannot be written", at)
		ch.Fix = "make it writable, or choose another place: --data-dir for the state, XDG_DATA_HOME for the cache"
	case free < enoughSpace:
		ch.State, ch.Fix = stateProblem, "free some disk space: less than 1 GiB is left"
	}
	return ch
}

// trust checks the local CA and, for each kind of client, how it comes to trust it.
func (c *cli) trust(cache string, t tools) []check {
	file, ch := caCheck(cache)
	list := []check{ch}
	if file == "" {
		return list
	}
	client := func(name, detail string) {
		list = append(list, check{Group: "Trust", Name: name, State: stateOK, Detail: detail})
	}
	client("functions", "every worker gets the CA with the system's roots (NODE_EXTRA_CA_CERTS, AWS_CA_BUNDLE, SSL_CERT_FILE, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE)")
	client("livegate", "connect trusts it for local wss:// by itself")
	client("node", "NODE_EXTRA_CA_CERTS="+file+" node …")
	client("python", "SSL_CERT_FILE="+file+" (websockets, ssl), REQUESTS_CA_BUNDLE (requests), AWS_CA_BUNDLE (boto3, aws)")
	client("go, curl", "SSL_CERT_FILE="+file+", curl --cacert "+file)
	browsers := check{Group: "Trust", Name: "browsers", State: stateOK,
		Detail: "ws://localhost needs no certificate; Chrome and Firefox allow it from https pages too. For wss:// import " + file + " as an authority"}
	list = append(list, browsers)
	if line, err := t.version("java", "-version"); err == nil && line != "" {
		list = append(list, check{Group: "Trust", Name: "java", State: stateMissing,
			Detail: "Java reads no PEM variable: functions on the JVM cannot be made to trust the CA by environment alone",
			Fix:    "keytool -importcert -noprompt -alias livegate -keystore lg.p12 -storepass changeit -file " + file + ", then JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore=lg.p12"})
	}
	return list
}

// caCheck finds the CA certificate and looks at its dates and its key's mode.
func caCheck(cache string) (file string, ch check) {
	ch = check{Group: "Trust", Name: "local CA", State: stateMissing, Detail: "not made yet: the first livegate dev makes one"}
	file = caFile(cache)
	if file == "" {
		return "", ch
	}
	text, err := os.ReadFile(file)
	if err != nil {
		ch.State, ch.Detail = stateProblem, err.Error()
		return "", ch
	}
	block, _ := pem.Decode(text)
	if block == nil {
		ch.State, ch.Detail, ch.Fix = stateProblem, file+" is not PEM", "remove the directory "+filepath.Dir(file)+": the next start makes a new CA"
		return "", ch
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		ch.State, ch.Detail, ch.Fix = stateProblem, file+": "+err.Error(), "remove the directory "+filepath.Dir(file)+": the next start makes a new CA"
		return "", ch
	}
	ch.State, ch.Detail = stateOK, fmt.Sprintf("%s, valid until %s", file, cert.NotAfter.Format(time.DateOnly))
	if time.Until(cert.NotAfter) < 24*time.Hour {
		ch.State, ch.Fix = stateProblem, "remove the directory "+filepath.Dir(file)+": the next start makes a new CA"
	}
	if key := loose(filepath.Dir(file)); key != "" {
		ch.State, ch.Detail, ch.Fix = stateProblem, key+" can be read by others: whoever has it can pretend to be any local name", "chmod 600 "+key
	}
	return file, ch
}

// caFile is the CA certificate of a live instance, else the one in the cache.
func caFile(cache string) string {
	if all, err := client.List(cache); err == nil && len(all) > 0 && all[0].CAFile != "" {
		return all[0].CAFile
	}
	found, err := filepath.Glob(filepath.Join(cache, "ca", "*.pem"))
	if err != nil {
		return ""
	}
	for _, path := range found {
		if !strings.Contains(filepath.Base(path), "key") && !strings.Contains(filepath.Base(path), "bundle") {
			return path
		}
	}
	return ""
}

// loose names a private key in dir that its group or others can read.
func loose(dir string) string {
	found, err := filepath.Glob(filepath.Join(dir, "*key*"))
	if err != nil {
		return ""
	}
	for _, path := range found {
		if st, err := os.Stat(path); err == nil && st.Mode().Perm()&0o077 != 0 {
			return path
		}
	}
	return ""
}
