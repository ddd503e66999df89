//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of /proc's processor times: USER_HZ, 100 per second on every
// Linux port that Go has (proc_pid_stat(5)).
const tick = 10 * time.Millisecond

// process is what /proc/PID/stat says, in ticks.
type process struct {
	pid, parent int
	own         int // user and system time
	reaped      int // of children that have ended and been waited for
}

// treeCPU is the processor time of a server, in ticks.
type treeCPU struct {
	root int // the process that was started
	rest int // everything below it, ended or not
}

func (t treeCPU) minus(u treeCPU) treeCPU { return treeCPU{t.root - u.root, t.rest - u.rest} }

func parseStat(line []byte) (p process, ok bool) {
	end := bytes.LastIndexByte(line, ')') // the name may hold anything
	if end < 0 {
		return p, false
	}
	f := bytes.Fields(line[end+1:])
	if len(f) < 15 {
		return p, false
	}
	num := func(b []byte) int { n, _ := strconv.Atoi(string(b)); return n }
	pid, _, _ := bytes.Cut(line, []byte(" "))
	return process{
		pid: num(pid), parent: num(f[1]),
		own: num(f[11]) + num(f[12]), reaped: num(f[13]) + num(f[14]),
	}, true
}

// sumTree adds up root and its descendants.
func sumTree(all []process, root int) treeCPU {
	in := map[int]bool{root: true}
	for grown := true; grown; { // a child may be listed before its parent
		grown = false
		for _, p := range all {
			if in[p.parent] && !in[p.pid] {
				in[p.pid], grown = true, true
			}
		}
	}
	var t treeCPU
	for _, p := range all {
		switch {
		case p.pid == root:
			t.root += p.own
			t.rest += p.reaped
		case in[p.pid]:
			t.rest += p.own + p.reaped
		}
	}
	return t
}

func readTree(root int) (treeCPU, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return treeCPU{}, err
	}
	var all []process
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		line, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it ended meanwhile
		}
		if p, ok := parseStat(line); ok {
			all = append(all, p)
		}
	}
	return sumTree(all, root), nil
}

// reading is the state of the machine's clocks at one moment.
type reading struct {
	at     time.Time
	server treeCPU
	self   int // this program, in ticks
	busy   int // the whole machine, in ticks
}

func read(root int) (r reading, err error) {
	r.at = time.Now()
	if r.server, err = readTree(root); err != nil {
		return r, err
	}
	line, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return r, err
	}
	self, _ := parseStat(line)
	r.self = self.own
	r.busy, err = machineBusy()
	return r, err
}

// machineBusy is all processors' time that was neither idle nor stolen
// (proc_stat(5): user nice system idle iowait irq softirq).
func machineBusy() (int, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	f := bytes.Fields(line)
	if len(f) < 8 {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	busy := 0
	for _, i := range []int{1, 2, 3, 6, 7} {
		n, err := strconv.Atoi(string(f[i]))
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		busy += n
	}
	return busy, nil
}
