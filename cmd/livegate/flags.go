package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/livegate/livegate/internal/app"
)

// envAnnotation marks a flag that an environment variable can set.
const envAnnotation = "livegate-env"

// variable lets LIVEGATE_<NAME> set flags, and says so in their help.
func variable(fs *pflag.FlagSet, names ...string) {
	for _, name := range names {
		env := "LIVEGATE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		f := fs.Lookup(name)
		f.Usage += " [$" + env + "]"
		f.Annotations = map[string][]string{envAnnotation: {env}}
	}
}

// fromEnvironment applies variables to flags that the command line left alone. An
// empty variable counts as unset.
func fromEnvironment(fs *pflag.FlagSet, getenv func(string) string) (err error) {
	fs.VisitAll(func(f *pflag.Flag) {
		names := f.Annotations[envAnnotation]
		if len(names) == 0 || f.Changed || err != nil {
			return
		}
		if value := getenv(names[0]); value != "" {
			if bad := f.Value.Set(value); bad != nil {
				err = &usageError{msg: fmt.Sprintf("%s=%q: want a value of type %s", names[0], value, f.Value.Type()), hint: "correct the environment variable, or give --" + f.Name}
			}
		}
	})
	return err
}

// templateFlags are the flags that decide how a template is read: dev and validate.
type templateFlags struct {
	stackName, region, account, configEnv string
	stack, stage                          string
	overrides, ssm, imports               []string
}

func (t *templateFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&t.stackName, "stack-name", "", "stack name (default: samconfig.toml, else the directory's name)")
	fs.StringVar(&t.stack, "stack", "", "stack of a CDK app that has several (default: those with a WebSocket API, and what they need)")
	fs.StringVar(&t.stage, "stage", "", "stage that a Serverless Framework project is packaged for (default: the project's)")
	fs.StringVar(&t.region, "region", "", "AWS region that the application sees (default: samconfig.toml, AWS_REGION, else us-east-1)")
	fs.StringVar(&t.account, "account-id", "", "AWS account id that the application sees (12 digits)")
	fs.StringArrayVar(&t.overrides, "parameter-overrides", nil, `template parameters as in SAM: "Key=Value Key2='a b'"; may be repeated`)
	fs.StringVar(&t.configEnv, "config-env", "", "environment in samconfig.toml (default \"default\")")
	fs.StringArrayVar(&t.ssm, "ssm-parameter", nil, "value of a parameter that the template reads from Systems Manager: /app/url=VALUE; may be repeated")
	fs.StringArrayVar(&t.imports, "import", nil, "value of another stack's export, for Fn::ImportValue: NAME=VALUE; may be repeated")
	variable(fs, "stack", "stage", "ssm-parameter", "import", "stack-name", "region", "account-id", "parameter-overrides", "config-env")
}

// config reads the template flags and the arguments: one path, and Key=Value
// pairs, because `--parameter-overrides A=1 B=2` without quotes is how SAM's own
// documentation writes it, and B=2 arrives as an argument.
func (t *templateFlags) config(args []string) (app.Config, error) {
	cfg := app.Config{Stack: t.stack, Stage: t.stage, StackName: t.stackName, Region: t.region, AccountID: t.account, ConfigEnv: t.configEnv}
	overrides := t.overrides
	for _, arg := range args {
		switch _, err := os.Stat(arg); {
		case err != nil && strings.Contains(arg, "=") && len(t.overrides) > 0:
			overrides = append(overrides, arg)
		case cfg.Path != "":
			return cfg, usagef("unexpected argument %q: one directory or template at a time", arg)
		case err != nil:
			return cfg, usagef("%s: no such directory or template", arg)
		default:
			cfg.Path = arg
		}
	}
	if cfg.AccountID != "" && (len(cfg.AccountID) != 12 || strings.Trim(cfg.AccountID, "0123456789") != "") {
		return cfg, usagef("--account-id %q: want 12 digits", cfg.AccountID)
	}
	var err error
	if cfg.Parameters, err = parseOverrides(overrides); err != nil {
		return cfg, err
	}
	if cfg.SSM, err = parsePairs("--ssm-parameter", t.ssm); err != nil {
		return cfg, err
	}
	cfg.Imports, err = parsePairs("--import", t.imports)
	return cfg, err
}

// tokenVariable holds the management token: a secret, so never a flag, which
// every process on the machine can read.
const tokenVariable = "LIVEGATE_MANAGEMENT_TOKEN"

// serveFlags are the flags of dev alone.
type serveFlags struct {
	operation
	host, profile, envFile  string
	port                    int
	allow, mapHosts, passes []string
	scale                   float64
	offline, noWatch, local bool
}

func (s *serveFlags) register(fs *pflag.FlagSet) {
	fs.IntVarP(&s.port, "port", "p", 3001, "the one port for ws, wss, http and https")
	fs.StringVar(&s.host, "host", "", "address to listen on (default loopback: 127.0.0.1 and ::1)")
	fs.StringSliceVar(&s.allow, "allow-host", nil, "further Host names to answer to, e.g. a tunnel's; may be repeated")
	fs.StringVar(&s.envFile, "env-file", "", "KEY=VALUE lines added to every function's environment")
	fs.BoolVar(&s.offline, "offline", false, "functions may call nothing outside this machine; refusals name the host")
	fs.StringArrayVar(&s.mapHosts, "map-host", nil, "send calls to a host elsewhere: api.example.org=127.0.0.1:9000; may be repeated")
	fs.StringSliceVar(&s.passes, "aws-passthrough", nil, "AWS services that functions reach for real, e.g. s3,ses")
	fs.Float64Var(&s.scale, "time-scale", 1, "make time limits this many times shorter (3600: two hours in two seconds)")
	fs.BoolVar(&s.noWatch, "no-watch", false, "do not reload when files change")
	fs.StringVar(&s.profile, "profile", "aws", "limits: aws (exactly AWS's) or open")
	fs.BoolVar(&s.local, "set-offline", false, "set IS_OFFLINE and AWS_SAM_LOCAL for functions that ask for them")
	s.operation.register(fs)
	variable(fs, "port", "host", "allow-host", "env-file", "offline", "map-host", "aws-passthrough", "time-scale", "no-watch", "profile", "set-offline")
}

// apply checks the flags and puts them into cfg.
func (s *serveFlags) apply(cfg *app.Config, getenv func(string) string) error {
	switch {
	case s.port < 0 || s.port > 65535:
		return usagef("--port %d: want 1 to 65535, or 0 for any free port", s.port)
	case s.scale < 1 || s.scale > 1e6:
		return usagef("--time-scale %g: want 1 or more (at most 1000000)", s.scale)
	case s.profile != "aws" && s.profile != "open":
		return usagef("--profile %q: want aws or open", s.profile)
	}
	if s.envFile != "" {
		if st, err := os.Stat(s.envFile); err != nil || st.IsDir() {
			return usagef("--env-file %s: no such file", s.envFile)
		}
	}
	hosts, err := parseMapHosts(s.mapHosts)
	if err != nil {
		return err
	}
	cfg.Host, cfg.Port, cfg.AllowHosts = s.host, s.port, s.allow
	cfg.EnvFile, cfg.TimeScale, cfg.Offline = s.envFile, s.scale, s.offline
	cfg.MapHosts, cfg.Passthrough = hosts, s.passes
	cfg.Watch, cfg.Profile, cfg.SetOffline = !s.noWatch, s.profile, s.local
	return s.operation.apply(cfg, getenv)
}

// parseMapHosts reads host=address:port entries; one text may hold several,
// separated by commas (the environment variable).
func parseMapHosts(entries []string) (map[string]string, error) {
	hosts := map[string]string{}
	for entry := range strings.SplitSeq(strings.Join(entries, ","), ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		host, target, ok := strings.Cut(entry, "=")
		_, port, err := net.SplitHostPort(target)
		if n, bad := strconv.Atoi(port); !ok || host == "" || err != nil || bad != nil || n < 1 || n > 65535 {
			return nil, usagef("--map-host %q: want HOST=ADDRESS:PORT, e.g. api.example.org=127.0.0.1:9000", entry)
		}
		hosts[strings.ToLower(host)] = target
	}
	return hosts, nil
}
