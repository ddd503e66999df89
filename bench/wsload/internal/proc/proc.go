//go:build linux

// Package proc reads what Linux says about processes: the processor time, memory,
// descriptors and threads of a server and its children, and what the whole
// machine used meanwhile. Everything comes from /proc (proc(5)); a process that
// ends while it is read counts as zero.
package proc

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// tick is USER_HZ, 100 per second on every Linux port that Go has.
const tick = 100

// CPU is user and system time in seconds.
type CPU struct{ User, Sys float64 }

// Total is user plus system time.
func (c CPU) Total() float64 { return c.User + c.Sys }

// Sub returns c-o.
func (c CPU) Sub(o CPU) CPU { return CPU{c.User - o.User, c.Sys - o.Sys} }

// Tree returns the given processes and their descendants alive now.
func Tree(roots []int) []int {
	kids := map[int][]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if f := fields(pid); len(f) > 1 {
			parent, _ := strconv.Atoi(f[1])
			kids[parent] = append(kids[parent], pid)
		}
	}
	seen := map[int]bool{}
	var all []int
	var walk func(int)
	walk = func(pid int) {
		if pid <= 0 || seen[pid] {
			return
		}
		seen[pid] = true
		all = append(all, pid)
		for _, k := range kids[pid] {
			walk(k)
		}
	}
	for _, r := range roots {
		walk(r)
	}
	return all
}

// fields of /proc/PID/stat from the state on: the name before it may hold anything.
func fields(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	i := bytes.LastIndexByte(b, ')')
	if i < 0 || i+2 > len(b) {
		return nil
	}
	return strings.Fields(string(b[i+2:]))
}

// Alive reports whether a process runs (a zombie does not).
func Alive(pid int) bool {
	f := fields(pid)
	return len(f) > 0 && f[0] != "Z" && f[0] != "X"
}

// CPUOf sums the processes' own time.
func CPUOf(pids []int) (c CPU) {
	for _, p := range pids {
		f := fields(p)
		if len(f) < 13 {
			continue
		}
		u, _ := strconv.ParseFloat(f[11], 64)
		s, _ := strconv.ParseFloat(f[12], 64)
		c.User += u / tick
		c.Sys += s / tick
	}
	return c
}

// RSS sums the processes' resident memory in bytes.
func RSS(pids []int) (bytes int64) {
	for _, p := range pids {
		bytes += number(p, "VmRSS:") * 1024
	}
	return bytes
}

// Threads sums the processes' threads.
func Threads(pids []int) (n int) {
	for _, p := range pids {
		n += int(number(p, "Threads:"))
	}
	return n
}

func number(pid int, key string) int64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), key); ok {
			if w := strings.Fields(rest); len(w) > 0 {
				n, _ := strconv.ParseInt(w[0], 10, 64)
				return n
			}
		}
	}
	return 0
}

// Files counts the processes' open descriptors, and the sockets among them.
func Files(pids []int) (all, sockets int) {
	for _, p := range pids {
		dir := fmt.Sprintf("/proc/%d/fd", p)
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			target, err := os.Readlink(dir + "/" + e.Name())
			if err != nil {
				continue
			}
			all++
			if strings.HasPrefix(target, "socket:") {
				sockets++
			}
		}
	}
	return all, sockets
}

// Machine is the whole machine's processor time that was neither idle nor stolen,
// in seconds.
func Machine() (busy float64) {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	w := strings.Fields(line) // cpu user nice system idle iowait irq softirq steal
	for _, i := range []int{1, 2, 3, 6, 7} {
		if i < len(w) {
			v, _ := strconv.ParseFloat(w[i], 64)
			busy += v / tick
		}
	}
	return busy
}
