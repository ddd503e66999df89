package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// portHolder says which process listens on a TCP port ("node (pid 4711)"), as far
// as /proc shows it to this user; "" when nobody does or the system does not say.
func portHolder(port int) string {
	inodes := listening(port)
	if len(inodes) == 0 {
		return ""
	}
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return ""
	}
	for _, proc := range procs {
		fds, err := os.ReadDir(proc + "/fd")
		if err != nil {
			continue // another user's process
		}
		for _, fd := range fds {
			link, err := os.Readlink(proc + "/fd/" + fd.Name())
			if err != nil || !inodes[link] {
				continue
			}
			name, _ := os.ReadFile(proc + "/comm") // gone meanwhile: the pid alone
			return strings.TrimSpace(fmt.Sprintf("%s (pid %s)", bytes.TrimSpace(name), filepath.Base(proc)))
		}
	}
	return "a process of another user"
}

// listening returns the sockets that listen on a port, named as the links in
// /proc/PID/fd name them. Lines of /proc/net/tcp (proc(5)): local address:port in
// hex is field 1, state 0A (LISTEN) field 3, the inode field 9.
func listening(port int) map[string]bool {
	found := map[string]bool{}
	want := ":" + strings.ToUpper(hex.EncodeToString([]byte{byte(port >> 8), byte(port)}))
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(table)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], want) {
				found["socket:["+f[9]+"]"] = true
			}
		}
	}
	return found
}

// portFree reports whether a loopback port can be listened on.
func portFree(port int) bool {
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	ln.Close()
	return true
}
