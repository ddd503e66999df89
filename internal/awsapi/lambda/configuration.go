package lambda

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// configuration is FunctionConfiguration, with what a template says. Members
// that only a deployment has (CodeSha256, Role, RevisionId…) are left out.
type configuration struct {
	FunctionName     string
	FunctionArn      string
	Runtime          string `json:",omitempty"`
	Handler          string `json:",omitempty"`
	Timeout          int    // seconds
	MemorySize       int    // MB
	Version          string
	Environment      *environment `json:",omitempty"`
	Layers           []layer      `json:",omitempty"`
	Architectures    []string
	EphemeralStorage storage
	PackageType      string
	State            string
	LastUpdateStatus string
}

type environment struct{ Variables map[string]string }
type layer struct{ Arn string }
type storage struct{ Size int }

// Lambda's defaults for what a template leaves out.
const (
	defaultTimeout   = 3   // seconds
	defaultMemory    = 128 // MB
	defaultEphemeral = 512 // MB
)

func configurationOf(fn *model.Function, qualifier string) configuration {
	c := configuration{
		FunctionName:     fn.Name,
		FunctionArn:      withQualifier(fn.ARN, qualifier),
		Runtime:          fn.Runtime,
		Handler:          fn.Handler,
		Timeout:          cmp.Or(int(fn.Timeout/time.Second), defaultTimeout),
		MemorySize:       cmp.Or(fn.MemoryMB, defaultMemory),
		Version:          version(fn, qualifier),
		Architectures:    []string{cmp.Or(fn.Arch, "x86_64")},
		EphemeralStorage: storage{cmp.Or(fn.EphemeralMB, defaultEphemeral)},
		PackageType:      "Zip",
		State:            "Active",
		LastUpdateStatus: "Successful",
	}
	if len(fn.Env) > 0 {
		c.Environment = &environment{fn.Env}
	}
	for _, arn := range fn.Layers {
		c.Layers = append(c.Layers, layer{arn})
	}
	return c
}

// getConfiguration is GET /2015-03-31/functions/{name}/configuration.
func (h *Handler) getConfiguration(w http.ResponseWriter, r *http.Request, name string) {
	fn, qualifier, err := h.find(name, r.URL.Query().Get("Qualifier"))
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, configurationOf(fn, qualifier))
}

// getFunction is GET /2015-03-31/functions/{name}. Code has no download link:
// the code is the user's own directory.
func (h *Handler) getFunction(w http.ResponseWriter, r *http.Request, name string) {
	fn, qualifier, err := h.find(name, r.URL.Query().Get("Qualifier"))
	if err != nil {
		fail(w, err)
		return
	}
	type concurrency struct{ ReservedConcurrentExecutions int }
	out := struct {
		Configuration configuration
		Code          struct{}
		Concurrency   *concurrency `json:",omitempty"`
	}{Configuration: configurationOf(fn, qualifier)}
	if fn.Reserved >= 0 {
		out.Concurrency = &concurrency{fn.Reserved}
	}
	answer(w, http.StatusOK, out)
}

// listFunctions is GET /2015-03-31/functions/, 50 to a page. The marker is the
// name of the page's first function.
func (h *Handler) listFunctions(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	size := 50
	if v := q.Get("MaxItems"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 10000 {
			fail(w, fault.Typed(fault.BadRequest, "InvalidParameterValueException", "MaxItems must be a number from 1 to 10000, got %q.", v))
			return
		}
		size = min(n, size)
	}
	var fns []*model.Function
	if app := h.cfg.App(); app != nil {
		fns = slices.SortedFunc(slices.Values(app.Functions), func(a, b *model.Function) int { return cmp.Compare(a.Name, b.Name) })
	}
	if marker := q.Get("Marker"); marker != "" {
		i, _ := slices.BinarySearchFunc(fns, marker, func(f *model.Function, m string) int { return cmp.Compare(f.Name, m) })
		fns = fns[i:]
	}
	out := struct {
		Functions  []configuration
		NextMarker string `json:",omitempty"`
	}{Functions: []configuration{}}
	if len(fns) > size {
		out.NextMarker, fns = fns[size].Name, fns[:size]
	}
	for _, fn := range fns {
		out.Functions = append(out.Functions, configurationOf(fn, ""))
	}
	answer(w, http.StatusOK, out)
}
