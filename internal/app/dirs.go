package app

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/fault"
)

// dirs are the two places we write: the project's state and the user's cache.
type dirs struct {
	data  string // .livegate beside the template, or --data-dir
	cache string // SDKs, the CA, the index of running instances
}

// prepareDirs makes both and checks that they can be written, before anything
// else is tried. The data directory ignores itself in git.
func prepareDirs(cfg Config) (d dirs, err error) {
	if d.data, d.cache, err = cfg.places(); err != nil {
		return d, err
	}
	if _, err := os.Stat(filepath.Dir(d.data)); err != nil {
		return dirs{}, fault.New(fault.BadRequest, "%s does not exist", filepath.Dir(d.data))
	}
	for _, dir := range []string{d.data, d.cache} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return dirs{}, unwritable(dir, err)
		}
		probe, err := os.CreateTemp(dir, ".probe-*")
		if err != nil {
			return dirs{}, unwritable(dir, err)
		}
		if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
			return dirs{}, err
		}
	}
	ignore := filepath.Join(d.data, ".gitignore")
	if _, err := os.Stat(ignore); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(ignore, []byte("*\n"), 0o644); err != nil {
			return dirs{}, unwritable(d.data, err)
		}
	}
	return d, nil
}

// places are the two directories, made or not.
func (c *Config) places() (data, cache string, err error) {
	if data = c.DataDir; data == "" {
		if data, err = client.DefaultDataDir(c.Path); err != nil {
			return "", "", err
		}
	}
	if cache = c.CacheDir; cache == "" {
		if cache, err = client.DefaultCacheDir(os.Getenv); err != nil {
			return "", "", err
		}
	}
	data, err = filepath.Abs(data)
	return data, cache, err
}

// listen binds the dev port on loopback, IPv4 and, where the machine has it, IPv6:
// browsers resolve localhost to either. Another address is bound besides
// 127.0.0.1, which is where functions and the command line come from.
func listen(host string, port int) ([]net.Listener, error) {
	hosts := []string{host}
	if host == "" || host == "localhost" {
		hosts = []string{"127.0.0.1", "::1"}
	}
	var out []net.Listener
	for i := 0; i < len(hosts); i++ {
		h := hosts[i]
		ln, err := net.Listen("tcp", net.JoinHostPort(h, strconv.Itoa(port)))
		if err == nil {
			out = append(out, ln)
			addr := ln.Addr().(*net.TCPAddr)
			port = addr.Port
			if len(hosts) == 1 && !addr.IP.IsUnspecified() && !addr.IP.Equal(net.IPv4(127, 0, 0, 1)) {
				hosts = append(hosts, "127.0.0.1")
			}
			continue
		}
		if len(out) > 0 && !errors.Is(err, syscall.EADDRINUSE) {
			continue // no IPv6 on this machine
		}
		for _, open := range out {
			open.Close()
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fault.New(fault.Conflict, "port %d is in use; stop what listens there%s or choose another with --port", port, holder(port))
		}
		return nil, fmt.Errorf("listen on %s port %d: %w", h, port, err)
	}
	return out, nil
}

// holder names the livegate that holds a port, if it is one of this user's.
func holder(port int) string {
	cache, err := client.DefaultCacheDir(os.Getenv)
	if err != nil {
		return ""
	}
	all, err := client.List(cache)
	if err != nil {
		return ""
	}
	for _, r := range all {
		if strings.HasSuffix(r.URL, ":"+strconv.Itoa(port)) {
			return fmt.Sprintf(" (livegate, stack %s, pid %d)", r.Stack, r.PID)
		}
	}
	return ""
}

// readEnvFile reads KEY=VALUE lines for functions. Blank lines and lines that
// start with # are skipped; "export " and matching quotes are dropped.
func readEnvFile(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "--env-file: %v", err)
	}
	defer f.Close()
	env := map[string]string{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, fault.New(fault.BadRequest, "%s:%d: want KEY=VALUE", path, n)
		}
		if len(value) > 1 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = value[1 : len(value)-1]
		}
		env[name] = value
	}
	if err := lines.Err(); err != nil {
		return nil, fault.New(fault.BadRequest, "%s: %v", path, err)
	}
	return env, nil
}
