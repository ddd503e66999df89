package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	prometheus "github.com/prometheus/common/model"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/sigv4"
)

// scrape reads the metrics of an application as Prometheus would.
func scrape(t *testing.T, url string) map[string]*dto.MetricFamily {
	t.Helper()
	status, body, _ := fetch(t, url)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", url, status, body)
	}
	parser := expfmt.NewTextParser(prometheus.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// value sums the series of a family that carry all the given labels, "k=v" each;
// of a histogram, its count.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) (sum float64) {
	for _, m := range families[name].GetMetric() {
		var have []string
		for _, l := range m.GetLabel() {
			have = append(have, l.GetName()+"="+l.GetValue())
		}
		if slices.ContainsFunc(labels, func(want string) bool { return !slices.Contains(have, want) }) {
			continue
		}
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return sum
}

// withFunction adds a function that never starts to mockApp.
func withFunction(t *testing.T, dir string) {
	t.Helper()
	template := strings.Replace(mockApp, "%s", "pong", 1) + `
  Worker:
    Type: AWS::Lambda::Function
    Properties: {FunctionName: worker, Runtime: provided.al2023, Handler: bootstrap, Role: x, Code: .}
`
	for name, text := range map[string]string{"template.yaml": template, "bootstrap": "#!/bin/sh\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// docs/operations.md is a promise: every series stands in its table with type and
// labels, and it lists none that does not exist.
func TestEverySeriesIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	type row struct{ kind, labels string }
	documented := map[string]row{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(livegate_[a-z_]+)` \\| (\\w+) \\|([^|]*)\\| [^|]+ \\|$").FindAllStringSubmatch(string(text), -1) {
		labels := regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(m[3], -1)
		var names []string
		for _, l := range labels {
			names = append(names, l[1])
		}
		slices.Sort(names)
		documented[m[1]] = row{m[2], strings.Join(names, " ")}
	}
	cfg, _ := project(t, "")
	withFunction(t, cfg.Path)
	ctx, stop := context.WithCancel(t.Context())
	ready, done := run(t, ctx, New(cfg))
	status := <-ready
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	exported := map[string]row{}
	for name, f := range scrape(t, status.EndpointURL+"/_livegate/metrics") {
		if !strings.HasPrefix(name, "livegate_") {
			continue
		}
		var names []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			names = append(names, l.GetName())
		}
		slices.Sort(names)
		exported[name] = row{strings.ToLower(f.GetType().String()), strings.Join(names, " ")}
	}
	for _, name := range slices.Sorted(maps.Keys(exported)) {
		if documented[name] != exported[name] {
			t.Errorf("%s is %+v, documented as %+v", name, exported[name], documented[name])
		}
	}
	for name := range documented {
		if exported[name] == (row{}) {
			t.Errorf("%s is documented and does not exist", name)
		}
	}
	stop()
	if err := result(t, done); err != nil {
		t.Error(err)
	}
}

func TestMetricsCountWhatHappens(t *testing.T) {
	r, base := managed(t, Config{Watch: true})
	c := r.dial()
	for range 3 {
		r.ask(c, `{"action":"ping"}`)
	}
	r.ask(c, `{"action":"nowhere"}`)
	if status, _ := r.get(r.request("GET", "/dev/@connections/x"), "localhost"); status != http.StatusForbidden {
		t.Errorf("unsigned callback: %d", status)
	}
	for _, target := range []string{"DynamoDB_20120810.ListTables", "DynamoDB_20120810.DescribeTable", "DynamoDB_20120810.x\xff", "y"} {
		req := r.request("POST", "/")
		req.Body = http.NoBody
		req.Header.Set("X-Amz-Target", target)
		req.Header.Set("Content-Type", "application/x-amz-json-1.0")
		sigv4.Sign(req, nil, sigv4.Key{ID: "AKIDEXAMPLE", Secret: "anything"}, sigv4.Scope{Region: "us-east-1", Service: "dynamodb"}, time.Now())
		r.get(req, req.URL.Host)
	}
	file := filepath.Join(r.dir, "template.yaml")
	for text, log := range map[string]string{"Resources: [broken": "keeps serving"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		r.waitLog(log)
	}
	m := scrape(t, base+"/metrics")
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"livegate_connections_open", nil, 1},
		{"livegate_connections_registered", nil, 1},
		{"livegate_connections_accepted_total", nil, 1},
		{"livegate_connections_closed_total", nil, 0},
		{"livegate_messages_received_total", nil, 4},
		{"livegate_messages_unrouted_total", nil, 1},
		{"livegate_messages_in_flight", nil, 0},
		{"livegate_replies_sent_total", nil, 3},
		{"livegate_callbacks_total", []string{"method=GET"}, 1},
		{"livegate_callback_answers_total", []string{"status=403"}, 1},
		{"livegate_table_operations_total", []string{"operation=ListTables", "result=success"}, 1},
		{"livegate_table_operations_total", []string{"operation=DescribeTable", "result=refused"}, 1},
		{"livegate_table_operations_total", []string{"operation=other"}, 2},
		{"livegate_table_operation_duration_seconds", nil, 4},
		{"livegate_reloads_total", []string{"what=template", "result=failure"}, 1},
		{"livegate_reloads_total", []string{"result=success"}, 0},
		{"livegate_tables", nil, 1},
		{"livegate_ready", nil, 1},
		{"livegate_build_info", nil, 1},
	} {
		if got := value(m, c.name, c.labels...); got != c.want {
			t.Errorf("%s %v is %v, want %v", c.name, c.labels, got, c.want)
		}
	}
	if commits := value(m, "livegate_storage_commits_total"); commits < 1 || value(m, "livegate_storage_sync_seconds") != commits {
		t.Errorf("%v commits, %v syncs", commits, value(m, "livegate_storage_sync_seconds"))
	}
	if started := value(m, "livegate_start_time_seconds"); time.Since(time.UnixMilli(int64(started*1000))) > time.Minute {
		t.Errorf("started at %v", started)
	}
}

// An operation counted under its own name is one that DynamoDB serves.
func TestCountedTableOperationsAreServed(t *testing.T) {
	source, err := os.ReadFile("../awsapi/dynamodb/dynamodb.go")
	if err != nil {
		t.Fatal(err)
	}
	var served []string
	for _, m := range regexp.MustCompile(`(?m)^\t\t"([A-Z]\w+)": `).FindAllStringSubmatch(string(source), -1) {
		served = append(served, m[1])
	}
	for _, name := range tableOperations() {
		if !slices.Contains(served, name) {
			t.Errorf("%s is counted and not served", name)
		}
	}
}

// invoker is a runtime of one answer.
type invoker struct {
	res model.InvokeResult
	err error
}

func (i invoker) Invoke(context.Context, model.Invocation) (model.InvokeResult, error) {
	return i.res, i.err
}

type transport func() (*http.Response, error)

func (f transport) RoundTrip(*http.Request) (*http.Response, error) { return f() }

func TestIntegrationsAreTimedAndTheirFailuresNamed(t *testing.T) {
	a := New(Config{})
	for _, i := range []invoker{
		{}, {res: model.InvokeResult{FunctionError: "Unhandled"}}, {err: fault.New(fault.Throttled, "")},
		{err: fault.New(fault.Timeout, "")}, {err: errors.New("?")},
	} {
		res, err := timedFunctions{i, &a.metrics.function}.Invoke(t.Context(), model.Invocation{})
		if err != i.err || res.FunctionError != i.res.FunctionError {
			t.Errorf("passed on as %v %v", res, err)
		}
	}
	for _, err := range []error{nil, fmt.Errorf("dial: %w", context.DeadlineExceeded), errors.New("refused"), fault.New(fault.Forbidden, "--offline")} {
		req, _ := http.NewRequest(http.MethodGet, "http://x/", nil)
		if _, got := (timedBackends{transport(func() (*http.Response, error) { return nil, err }), &a.metrics.http}).RoundTrip(req); got != err {
			t.Errorf("passed on as %v", got)
		}
	}
	server := httptest.NewServer(a.metrics.reg.Handler())
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	m := scrape(t, server.URL)
	for labels, want := range map[string]float64{
		"type=function kind=upstream": 1, "type=function kind=throttled": 1, "type=function kind=timeout": 1, "type=function kind=other": 1,
		"type=http kind=timeout": 1, "type=http kind=upstream": 1, "type=http kind=forbidden": 1, "type=http kind=other": 0,
	} {
		if got := value(m, "livegate_integration_errors_total", strings.Fields(labels)...); got != want {
			t.Errorf("%s: %v, want %v", labels, got, want)
		}
	}
	if f, h := value(m, "livegate_integration_duration_seconds", "type=function"), value(m, "livegate_integration_duration_seconds", "type=http"); f != 5 || h != 4 {
		t.Errorf("timed %v functions and %v back ends", f, h)
	}
}
