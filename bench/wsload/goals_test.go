//go:build linux

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/bench/wsload/internal/load"
)

// echoRuns are rounds of the echo scenario: ours and the floor's µs, and what
// others took meanwhile.
func echoRuns(rounds ...[3]float64) (runs []EngineRun) {
	for i, v := range rounds {
		for k, server := range []string{"livegate", "floor"} {
			runs = append(runs, EngineRun{Round: i + 1, Scenario: "echo", Server: server, Kept: v[2] <= otherCoresMost,
				Driven: Driven{Mode: "echo", M: load.Metrics{"srv_cpu_us": v[k], "other_cores": v[2]}}})
		}
	}
	return runs
}

func echoRow(t *testing.T, h EngineHead, runs []EngineRun) row {
	t.Helper()
	for _, r := range judge(h, runs) {
		if r.scenario == "echo" {
			return r
		}
	}
	t.Fatal("no row for echo")
	return row{}
}

func TestVerdicts(t *testing.T) {
	const quiet, busy = 0.05, 0.9
	pass, miss := [3]float64{6.2, 5, quiet}, [3]float64{6.4, 5, quiet}
	lost := [3]float64{1, 5, busy} // would pass, but proves nothing
	for _, tt := range []struct {
		name   string
		rounds [][3]float64
		want   string
	}{
		{"all pass", [][3]float64{pass, pass, pass, pass, pass}, passes},
		{"the median passes", [][3]float64{pass, miss, pass, miss, pass}, passes},
		{"the median misses", [][3]float64{miss, pass, miss, pass, miss}, fails},
		{"discarded rounds do not count", [][3]float64{miss, lost, miss, lost, miss, lost, miss, miss}, fails},
		{"too few rounds", [][3]float64{pass, pass, pass, pass}, noVerdict},
		{"more than half discarded", [][3]float64{pass, lost, pass, lost, pass, lost, pass, lost, pass, lost, lost}, noVerdict},
		{"all discarded", [][3]float64{lost, lost, lost, lost, lost}, notMeasure},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := echoRow(t, EngineHead{Rounds: 5}, echoRuns(tt.rounds...)); got.verdict != tt.want {
				t.Errorf("%q, want %q: %+v", got.verdict, tt.want, got)
			}
		})
	}
}

// A pass is a claim: runs that the rules of measuring do not cover never say it.
func TestLooksAreNoVerdicts(t *testing.T) {
	pass := [3]float64{6, 5, 0}
	runs := echoRuns(pass, pass, pass, pass, pass)
	for _, h := range []EngineHead{{Rounds: 5, Quick: true}, {Rounds: 4}, {Rounds: 5, Busiest: 9}} {
		if got := echoRow(t, h, runs); got.verdict != meets {
			t.Errorf("%+v: %q", h, got.verdict)
		}
		if text := table(h, runs); !strings.Contains(text, "not a verdict") {
			t.Errorf("%+v: the title does not say so", h)
		}
	}
	if got := echoRow(t, EngineHead{Rounds: 5, Busiest: otherCoresMost}, runs); got.verdict != passes {
		t.Errorf("%q in a run by the rules", got.verdict)
	}
}

// A ratio compares the same rounds: one in which only the floor was measured
// undisturbed must not move it.
func TestRatiosUseTheSameRounds(t *testing.T) {
	runs := echoRuns([3]float64{6, 5, 0}, [3]float64{6, 5, 0}, [3]float64{60, 50, 0})
	runs[4].Kept = false // ours in round 3
	got := echoRow(t, EngineHead{Rounds: 2}, runs)
	if got.theirs != 5 || got.rounds != 2 || got.verdict != meets { // two rounds prove nothing
		t.Errorf("%+v", got)
	}
}

func TestTableWithoutAFloorHasNoRatio(t *testing.T) {
	var runs []EngineRun
	for _, r := range echoRuns([3]float64{6, 5, 0}) {
		if r.Server != "floor" {
			runs = append(runs, r)
		}
	}
	h := EngineHead{Rounds: 1, Skipped: map[string]string{"floor": "gcc is not installed"}}
	if got := echoRow(t, h, runs); got.verdict != notMeasure {
		t.Errorf("%q without a floor", got.verdict)
	}
	if text := table(h, runs); !strings.Contains(text, "left out: floor: gcc is not installed") {
		t.Errorf("the table does not say what is left out:\n%s", text)
	}
}

func TestFaultsFailARun(t *testing.T) {
	runs := echoRuns([3]float64{6, 5, 0})
	runs[0].M["control_misdelivered"] = 2
	if err := verdictError(EngineHead{Rounds: 1, Quick: true}, runs); err == nil {
		t.Error("two misdelivered messages and no error")
	}
	if text := table(EngineHead{Rounds: 1}, runs); !strings.Contains(text, "control_misdelivered 2") {
		t.Errorf("the table hides them:\n%s", text)
	}
}

func TestEveryGoalHasAScenarioAndItsPeer(t *testing.T) {
	byName := map[string]scenario{}
	for _, s := range scenarios() {
		byName[s.name] = s
	}
	for _, g := range goals() {
		s, ok := byName[g.scenario]
		if !ok {
			t.Errorf("%s: no scenario %q", g.metric, g.scenario)
		}
		if g.peer != "" && !strings.Contains(" "+strings.Join(s.servers, " ")+" ", " "+g.peer+" ") {
			t.Errorf("%s: %s is not measured in %s", g.metric, g.peer, g.scenario)
		}
	}
	if n := len(agentHeader()) - len("User-Agent: "); n != 120 {
		t.Errorf("the user agent has %d bytes", n)
	}
}

func TestFaultVerdicts(t *testing.T) {
	m := load.Metrics{"quiet_p99_us": 1000, "fault_p99_us": 1900, "rss_drift": 0.009, "files_before": 210, "files_after": 210, "came": 9}
	good := func() load.Metrics {
		c := load.Metrics{}
		for k, v := range m {
			c[k] = v
		}
		return c
	}
	failedIn := func(all []finding) (names []string) {
		for _, f := range all {
			if !f.ok {
				names = append(names, f.what)
			}
		}
		return names
	}
	if bad := failedIn(judgeChurn(good(), flatTime)); bad != nil {
		t.Errorf("a good run failed: %v", bad)
	}
	for key, value := range map[string]float64{"fault_p99_us": 2100, "rss_drift": 0.011, "files_after": 211, "control_lost": 1, "misdelivered": 1} {
		c := good()
		c[key] = value
		if bad := failedIn(judgeChurn(c, flatTime)); len(bad) != 1 {
			t.Errorf("%s = %v: failed %v, want one finding", key, value, bad)
		}
	}
	for _, f := range judgeChurn(good(), time.Minute) {
		if strings.HasPrefix(f.what, "memory flat") && !f.hollow {
			t.Error("a minute proves memory flat")
		}
	}
	if bad := failedIn(judgeHalfOpen(load.Metrics{"quiet_p99_us": 1, "fault_p99_us": 1, "bound_s": 60, "noticed": 499, "vanished": 500}, 0)); len(bad) != 1 {
		t.Errorf("one of 500 never found: failed %v", bad)
	}
}

func TestCredentialsStayOutOfResults(t *testing.T) {
	if got := redact("-addr a -key AKIA:secret:token -n 5"); got != "-addr a -key … -n 5" {
		t.Errorf("%q", got)
	}
}
