//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/livegate/livegate/bench/wsload/internal/load"
	"github.com/livegate/livegate/bench/wsload/internal/stat"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// faults names what a run lost, repeated, reordered or misdelivered; "" for none.
func (r *EngineRun) faults() string {
	var all []string
	for _, name := range load.FaultNames() {
		for _, prefix := range []string{"", "control_"} {
			if n := r.M[prefix+name]; n > 0 {
				all = append(all, fmt.Sprintf("%s%s %.0f", prefix, name, n))
			}
		}
	}
	return strings.Join(all, ", ")
}

// line is a run for somebody who watches.
func (r *EngineRun) line() string {
	var text string
	switch {
	case r.M == nil:
	case r.Mode == "idle":
		text = fmt.Sprintf("%7.0f B/conn  %6.1f µs/handshake", r.M["bytes_per_conn"], r.M["handshake_cpu_us"])
	case r.Mode == "fairness":
		text = fmt.Sprintf("%7.2f ms p99 (%.2f alone)", r.M["p99_us"]/1e3, r.M["quiet_p99_us"]/1e3)
	default:
		text = fmt.Sprintf("%7.2f µs  %8.0f/s  p99 %.2f ms", r.M["srv_cpu_us"], r.M["per_s"], r.M["p99_us"]/1e3)
	}
	if r.M == nil || r.Error != "" {
		return "failed: " + firstLine(r.Why)
	}
	if r.Kept && r.Why == "" {
		return text
	}
	return fmt.Sprintf("%s  %s: %s", text, r.state(), firstLine(r.Why))
}

const (
	discarded = "discarded"
	failed    = "failed"
)

// state is what became of a run.
func (r *EngineRun) state() string {
	switch {
	case r.Kept && r.faults() == "":
		return "kept"
	case r.Kept:
		return "faults"
	case r.M == nil || r.Error != "":
		return failed
	}
	return discarded
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// keptRounds are the rounds of a scenario in which every server that its goals
// need was measured undisturbed.
func keptRounds(runs []EngineRun, s *scenario) []int {
	count := map[int]int{}
	needed := s.needed()
	for _, r := range runs {
		if r.Scenario == s.name && r.Kept && slices.Contains(needed, r.Server) {
			count[r.Round]++
		}
	}
	// A peer that is not installed holds nobody up: its goals get no verdict.
	present := 0
	for _, name := range needed {
		if slices.ContainsFunc(runs, func(r EngineRun) bool { return r.Scenario == s.name && r.Server == name }) {
			present++
		}
	}
	var rounds []int
	for _, n := range slices.Sorted(maps.Keys(count)) {
		if count[n] == present {
			rounds = append(rounds, n)
		}
	}
	return rounds
}

// values are one metric of a server over rounds.
func values(runs []EngineRun, scenario, server, key string, rounds []int) (v []float64) {
	for _, r := range runs {
		if r.Scenario != scenario || r.Server != server || !r.Kept || rounds != nil && !slices.Contains(rounds, r.Round) {
			continue
		}
		if x, ok := r.M[key]; ok {
			v = append(v, x)
		}
	}
	return v
}

// row is a judged goal.
type row struct {
	goal
	ours, theirs float64 // medians, in the goal's unit
	lo, hi       float64 // of ours
	rounds       int     // kept
	tried        int
	verdict      string
}

const (
	passes     = "pass"
	fails      = "FAIL"
	meets      = "meets" // as above, in a run that proves nothing
	misses     = "misses"
	noVerdict  = "no verdict"
	notMeasure = "not measured"
	shown      = ""
)

// judge computes the table's rows.
func judge(h EngineHead, runs []EngineRun) []row {
	var rows []row
	byName := map[string]scenario{}
	for _, s := range scenarios() {
		byName[s.name] = s
	}
	for _, g := range goals() {
		s := byName[g.scenario]
		if g.scale == 0 {
			g.scale = 1
		}
		rounds := keptRounds(runs, &s)
		r := row{goal: g, rounds: len(rounds)}
		tried := map[int]bool{}
		for _, x := range runs {
			if x.Scenario == s.name {
				tried[x.Round] = true
			}
		}
		r.tried = len(tried)
		if r.tried == 0 {
			continue
		}
		ours := values(runs, s.name, s.servers[0], g.key, rounds)
		theirs := values(runs, s.name, g.peer, or(g.peerKey, g.key), nil)
		if g.ratio > 0 {
			theirs = values(runs, s.name, g.peer, or(g.peerKey, g.key), rounds) // the same rounds
		}
		r.ours, r.theirs = stat.Median(ours)*g.scale, stat.Median(theirs)*g.scale
		if len(ours) > 0 {
			r.lo, r.hi = slices.Min(ours)*g.scale, slices.Max(ours)*g.scale
		}
		r.verdict = r.judge(h, len(ours), len(theirs))
		rows = append(rows, r)
	}
	return rows
}

// judge says pass or fail. Fewer rounds than asked for, or more discarded than
// kept, prove nothing.
func (r *row) judge(h EngineHead, ours, theirs int) string {
	judged := r.most > 0 || r.least > 0 || r.ratio > 0
	switch {
	case ours == 0:
		return notMeasure
	case !judged:
		return shown
	case r.ratio > 0 && theirs == 0:
		return notMeasure
	case r.rounds < h.Rounds || r.tried > 2*r.rounds:
		return noVerdict
	}
	ok := (r.most == 0 || r.ours <= r.most) && (r.least == 0 || r.ours >= r.least) &&
		(r.ratio == 0 || r.ours <= r.ratio*r.theirs)
	switch {
	case !h.proves() && ok:
		return meets
	case !h.proves():
		return misses
	case ok:
		return passes
	}
	return fails
}

// proves reports whether a run can have verdicts at all: five rounds, and none
// kept in which others took more than the rules allow.
func (h *EngineHead) proves() bool {
	return !h.Quick && h.Rounds >= 5 && h.Busiest <= otherCoresMost
}

// table is the goals table as text.
func table(h EngineHead, runs []EngineRun) string {
	var b strings.Builder
	title := "goals"
	if !h.proves() {
		title = fmt.Sprintf("goals: a look, not a verdict (%d rounds%s; kept with others using up to %s cores)", h.Rounds, quickText(h.Quick), figure(h.Busiest))
	}
	fmt.Fprintf(&b, "%s\n%s\n\n", title, h.Livegate)
	cells := [][]string{{"metric", "livegate", "span", "compared with", "", "ratio", "goal", "", "rounds"}}
	for _, r := range judge(h, runs) {
		span, peer, theirs, ratio := "", r.peer, "", ""
		if r.rounds > 1 {
			span = figure(r.lo) + "–" + figure(r.hi)
		}
		if r.peerKey != "" {
			peer = strings.TrimSuffix(r.peer, "-wss") + " alone"
		} else if r.unit == "µs" && strings.HasPrefix(r.peer, "nginx") {
			peer = "nginx + floor"
		}
		if r.theirs != 0 {
			theirs = figure(r.theirs) + " " + r.unit
		}
		if r.theirs != 0 && r.ours != 0 {
			ratio = fmt.Sprintf("%.2f ×", r.ours/r.theirs)
		}
		ours := figure(r.ours) + " " + r.unit
		if r.verdict == notMeasure && r.ours == 0 {
			ours = "–"
		}
		cells = append(cells, []string{r.metric, ours, span, peer, theirs, ratio, r.text, r.verdict, fmt.Sprintf("%d of %d", r.rounds, r.tried)})
	}
	b.WriteString(align(cells))
	b.WriteString("\n" + peerTable(runs))
	b.WriteString(discards(runs))
	for _, name := range sortedKeys(h.Skipped) {
		fmt.Fprintf(&b, "left out: %s: %s\n", name, h.Skipped[name])
	}
	return b.String()
}

// peerTable shows what every server took, ours in the first line.
func peerTable(runs []EngineRun) string {
	columns := []struct{ title, scenario, key string }{
		{"idle B/conn", "idle", "bytes_per_conn"}, {"handshake µs", "idle", "handshake_cpu_us"},
		{"fan-out µs", "fanout", "srv_cpu_us"}, {"batched µs", "batched", "srv_cpu_us"}, {"k deliveries/s", "batched", "per_s"},
		{"echo µs", "echo", "srv_cpu_us"}, {"k echo/s", "echo", "per_s"}, {"post µs", "post", "srv_cpu_us"}, {"k posts/s", "post", "per_s"},
		{"wss idle B", "wss-idle", "bytes_per_conn"}, {"wss handshake µs", "wss-idle", "handshake_cpu_us"}, {"wss echo µs", "wss-echo", "srv_cpu_us"},
	}
	var servers []string
	for _, r := range runs {
		if !slices.Contains(servers, r.Server) {
			servers = append(servers, r.Server)
		}
	}
	some := map[string]bool{} // servers and columns that have a figure
	cell := func(server, scenario, key, title string) string {
		v := values(runs, scenario, server, key, nil)
		if len(v) == 0 {
			return "–"
		}
		some[server], some[title] = true, true
		if strings.HasPrefix(title, "k ") {
			return figure(stat.Median(v) / 1e3)
		}
		return figure(stat.Median(v))
	}
	all := map[string]string{}
	for _, server := range servers {
		for _, c := range columns {
			all[server+c.title] = cell(server, c.scenario, c.key, c.title)
		}
	}
	cells := [][]string{{"all servers, medians"}}
	for _, server := range servers {
		if some[server] {
			cells = append(cells, []string{server})
		}
	}
	for _, c := range columns {
		if !some[c.title] {
			continue
		}
		cells[0] = append(cells[0], c.title)
		for i := range cells[1:] {
			cells[1+i] = append(cells[1+i], all[cells[1+i][0]+c.title])
		}
	}
	if len(cells) == 1 {
		return ""
	}
	return align(cells) + "\n"
}

// discards lists the runs that do not count, and every fault.
func discards(runs []EngineRun) string {
	var b strings.Builder
	faulty := 0
	for _, r := range runs {
		if r.faults() != "" {
			faulty++
			fmt.Fprintf(&b, "faults: round %d %s %s: %s\n", r.Round, r.Scenario, r.Server, r.faults())
		}
	}
	fmt.Fprintf(&b, "faults: %d of %d runs lost, duplicated, reordered or misdelivered anything\n", faulty, len(runs))
	type fate struct{ state, scenario, server, why string }
	rounds := map[fate][]string{}
	var order []fate
	for _, r := range runs {
		if r.Kept {
			continue
		}
		f := fate{r.state(), r.Scenario, r.Server, ""}
		text := strconv.Itoa(r.Round)
		if f.state == failed {
			f.why = ": " + firstLine(r.Why)
		} else {
			text += " (" + firstLine(r.Why) + ")"
		}
		if rounds[f] == nil {
			order = append(order, f)
		}
		rounds[f] = append(rounds[f], text)
	}
	for _, f := range order {
		fmt.Fprintf(&b, "%s: %s %s, round %s%s\n", f.state, f.scenario, f.server, strings.Join(rounds[f], ", "), f.why)
	}
	return b.String()
}

// align pads cells into columns.
func align(cells [][]string) string {
	width := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, c := range line {
			width[i] = max(width[i], len([]rune(c)))
		}
	}
	var b strings.Builder
	for _, line := range cells {
		var text strings.Builder
		for i, c := range line {
			pad := strings.Repeat(" ", width[i]-len([]rune(c)))
			if i == 0 {
				text.WriteString(c + pad)
			} else if isFigure(c) {
				text.WriteString("  " + pad + c)
			} else {
				text.WriteString("  " + c + pad)
			}
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
	return b.String()
}

func isFigure(s string) bool { return s != "" && (s[0] >= '0' && s[0] <= '9' || s == "–") }

// verdictError is the exit status of a run: faults and missed goals fail it.
func verdictError(h EngineHead, runs []EngineRun) error {
	var missed []string
	for _, r := range runs {
		if strings.HasPrefix(r.Server, "livegate") && r.faults() != "" {
			return errors.New("livegate lost, duplicated, reordered or misdelivered messages")
		}
	}
	if !h.proves() {
		return nil
	}
	for _, r := range judge(h, runs) {
		if r.verdict != passes && r.verdict != shown {
			missed = append(missed, r.metric+" ("+r.verdict+")")
		}
	}
	if len(missed) > 0 {
		return errors.New("not met: " + strings.Join(missed, ", "))
	}
	return nil
}

func quickText(quick bool) string {
	if quick {
		return ", short"
	}
	return ""
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// runTable prints the tables of an earlier run.
func runTable(args []string) error {
	if len(args) != 1 {
		return errors.New("wsload table FILE: a file of bench/results that ends in -engine.jsonl")
	}
	file, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 4<<20)
	var h EngineHead
	if lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &h); err != nil || h.Benchmark != "engine" {
			return fmt.Errorf("%s does not hold results of wsload engine", args[0])
		}
	}
	var runs []EngineRun
	for lines.Scan() {
		var r EngineRun
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		runs = append(runs, r)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	fmt.Print(table(h, runs))
	return nil
}
