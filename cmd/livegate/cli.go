package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/livegate/livegate/internal/app"
	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/terminal"
)

// Exit codes; documented in docs/cli.md.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotRunning  = 3
	exitInterrupted = 130 // 128 + SIGINT, as shells count
)

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted")

// errReported ends a command whose output already said what failed.
var errReported = errors.New("failed")

// cli is one run of the command line. Everything it touches of the outside world
// is a field, so that tests run it in the process.
type cli struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	look     func(f any) terminal.Look // of in, out or err
	validate func(context.Context, app.Config) ([]client.Finding, error)
	serve    func(context.Context, app.Config, func(client.Status)) error

	dataDir string // --data-dir
}

// usageError is a wrong command line: exit code 2.
type usageError struct {
	msg, hint string
}

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error {
	return &usageError{msg: fmt.Sprintf(format, args...)}
}

const long = `Livegate runs serverless WebSocket applications from their SAM or
CloudFormation template, unmodified.

Start here, in the directory of a template.yaml:

  livegate dev
`

// execute runs one command line and returns the exit code.
func (c *cli) execute(ctx context.Context, args []string) int {
	root := c.root()
	root.SetArgs(args)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	cmd, err := root.ExecuteContextC(ctx)
	return c.report(ctx, cmd, err)
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "livegate",
		Short:         "Run serverless WebSocket applications, unmodified",
		Long:          long,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          func(cmd *cobra.Command, args []string) error { return unknown(cmd, args) },
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return fromEnvironment(cmd.Flags(), c.getenv)
		},
	}
	root.PersistentFlags().StringVar(&c.dataDir, "data-dir", "", "where the application's state lives (default .livegate beside the template)")
	variable(root.PersistentFlags(), "data-dir")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{msg: flagText(err), hint: "see " + cmd.CommandPath() + " --help"}
	})
	root.AddCommand(c.devCommand(), c.validateCommand(), c.connectCommand(), c.invokeCommand(),
		c.statusCommand(), c.tablesCommand(), c.doctorCommand(), c.resetCommand(), c.compatCommand(), c.versionCommand(), c.conformanceCommand())
	root.SetHelpCommand(&cobra.Command{Use: "help [command]", Short: "Help about any command", Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			target, _, err := cmd.Root().Find(args)
			if err != nil || target == cmd.Root() && len(args) > 0 {
				return unknown(cmd.Root(), args)
			}
			return target.Help()
		}})
	return root
}

// flagText is a flag error without the name of the Go function that found it.
func flagText(err error) string {
	text, _, _ := strings.Cut(err.Error(), ": strconv.")
	return text
}

// unknown refuses arguments of the root: a command that does not exist.
func unknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	e := &usageError{msg: fmt.Sprintf("unknown command %q", args[0]), hint: "see livegate --help"}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		e.hint = "did you mean livegate " + strings.Join(near, " or livegate ") + "?"
	}
	return e
}

// atMost is cobra.MaximumNArgs with an error that ends in exit code 2.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return &usageError{msg: fmt.Sprintf("unexpected argument %q", args[n]), hint: "usage: " + cmd.UseLine()}
		}
		return nil
	}
}

// report shows an error and turns it into the exit code.
func (c *cli) report(ctx context.Context, cmd *cobra.Command, err error) int {
	if err == nil {
		return exitOK
	}
	look := c.look(c.err)
	if errors.Is(err, errInterrupted) || errors.Is(context.Cause(ctx), errInterrupted) && errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	if errors.Is(err, errReported) {
		return exitFailed
	}
	if e, ok := errors.AsType[*client.FindingsError](err); ok {
		c.showFindings(c.err, look, e.Findings)
		return exitFailed
	}
	p := terminal.Problem{Severity: "error", Message: explain(err)}
	code := exitFailed
	if e, ok := errors.AsType[*usageError](err); ok {
		code, p.Hint = exitUsage, e.hint
		if p.Hint == "" && cmd != nil {
			p.Hint = "see " + cmd.CommandPath() + " --help"
		}
	}
	if errors.Is(err, client.ErrNotRunning) {
		code, p.Hint = exitNotRunning, "start it with livegate dev, or name its state with --data-dir"
	}
	if errors.Is(err, client.ErrAmbiguous) {
		code, p.Hint = exitUsage, "say which one with --data-dir"
	}
	fmt.Fprint(c.err, p.Render(look))
	return code
}

// explain is the text of an error for people: a classified error speaks for
// itself, without the call-shaped prefixes that help us debug.
func explain(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Kind != fault.Internal {
		return e.Error()
	}
	return err.Error()
}

// dirs resolves the data directory (of the application at path, "" for here) and
// the user's cache directory.
func (c *cli) dirs(path string) (data, cache string, err error) {
	if data = c.dataDir; data == "" {
		if data, err = client.DefaultDataDir(path); err != nil {
			return "", "", err
		}
	}
	cache, err = client.DefaultCacheDir(c.getenv)
	return data, cache, err
}

// instance finds the running instance that a command means.
func (c *cli) instance() (*client.Client, error) {
	data, cache, err := c.dirs("")
	if err != nil {
		return nil, err
	}
	if c.dataDir != "" {
		cache = "" // named: no other will do
	}
	run, err := client.Find(data, cache)
	if err != nil {
		return nil, err
	}
	return &client.Client{Run: run}, nil
}
