package runtime

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/runtime/build"
)

// inherited are the variables of livegate's own environment that a worker may
// see. Everything else stays out: a function must not work here because of
// something in the user's shell that Lambda will not have.
var inherited = [...]string{"TMPDIR", "SSL_CERT_DIR", "XDG_RUNTIME_DIR"}

// reserved reports whether a template may not set the variable, as documented by
// Lambda ("Reserved environment variables").
func reserved(name string) bool {
	switch name {
	case "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV",
		"AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
		"LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR":
		return true
	}
	return strings.HasPrefix(name, "AWS_LAMBDA_")
}

func memory(fn *model.Function) int {
	if fn.MemoryMB > 0 {
		return fn.MemoryMB
	}
	return 128
}

// bootstrapArgs are the arguments of an interpreter that runs our bootstrap.
func (r *Runtime) bootstrapArgs(out *build.Output) []string {
	if out.Family == build.Python {
		return []string{"-u", r.files.Python}
	}
	return []string{"--require", r.files.Hook, r.files.Node}
}

// environment is everything a worker's process gets. api is the address of its
// Runtime API, "" for bootstraps.
func (r *Runtime) environment(w *worker, api string) []string {
	fn, out := w.rev.fn, w.rev.output
	env := map[string]string{
		"AWS_LAMBDA_FUNCTION_NAME":        fn.Name,
		"AWS_LAMBDA_FUNCTION_VERSION":     "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(memory(fn)),
		"AWS_LAMBDA_LOG_GROUP_NAME":       "/aws/lambda/" + fn.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME":      w.stream,
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
		"AWS_EXECUTION_ENV":               "AWS_Lambda_" + fn.Runtime,
		"AWS_REGION":                      w.rev.region,
		"AWS_DEFAULT_REGION":              w.rev.region,
		"AWS_ACCESS_KEY_ID":               w.identity.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY":           w.identity.SecretKey,
		"AWS_SESSION_TOKEN":               w.identity.SessionToken,
		// The user's own profile must not decide what a function does.
		"AWS_CONFIG_FILE":             os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		"AWS_XRAY_CONTEXT_MISSING":    "LOG_ERROR",
		"_HANDLER":                    fn.Handler,
		"LAMBDA_TASK_ROOT":            out.Task,
		"LAMBDA_RUNTIME_DIR":          filepath.Dir(r.files.Node),
		"TZ":                          ":UTC",
		"LANG":                        "en_US.UTF-8",
		"HOME":                        os.TempDir(),
		"PATH":                        join(out.Bin, os.Getenv("PATH")),
	}
	if api != "" {
		env["AWS_LAMBDA_RUNTIME_API"] = api
	}
	for _, name := range inherited {
		if v, ok := os.LookupEnv(name); ok {
			env[name] = v
		}
	}
	if lib := join(out.Lib, os.Getenv("LD_LIBRARY_PATH")); lib != "" {
		env["LD_LIBRARY_PATH"] = lib
	}
	switch out.Family {
	case build.Node:
		if path := join(out.NodePath, ""); path != "" {
			env["NODE_PATH"] = path
		}
	case build.Python:
		env["PYTHONPATH"] = join(append([]string{out.Task}, out.PythonPath...), "")
		env["PYTHONDONTWRITEBYTECODE"] = "1"
	}
	var extra []string
	if r.cfg.Env != nil {
		extra = r.cfg.Env(w.identity)
	}
	for _, kv := range extra {
		if name, value, ok := strings.Cut(kv, "="); ok {
			env[name] = value
		}
	}
	for name, value := range fn.Env {
		if !reserved(name) {
			env[name] = value
		}
	}
	list := make([]string, 0, len(env))
	for name, value := range env {
		if !strings.ContainsRune(name+value, 0) {
			list = append(list, name+"="+value)
		}
	}
	slices.Sort(list)
	return list
}

// join makes a search path of dirs followed by rest, without empty parts: an
// empty part means the current directory to most readers.
func join(dirs []string, rest string) string {
	parts := slices.Clone(dirs)
	if rest != "" {
		parts = append(parts, rest)
	}
	return strings.Join(parts, string(os.PathListSeparator))
}
