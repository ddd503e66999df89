package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/terminal"
)

func (c *cli) invokeCommand() *cobra.Command {
	var file, payload string
	var withLog bool
	cmd := &cobra.Command{
		Use:   "invoke FUNCTION",
		Short: "Run a function of a running application once",
		Long: `Run a function of the running application once and print its answer.

FUNCTION is a logical id, a name or an ARN. The event is {} unless given with
--payload or --event. Exit code 1 when the function fails.`,
		Example: "  livegate invoke OnConnect --payload '{\"a\": 1}'\n  livegate invoke OnConnect --event event.json --log",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{msg: "which function?", hint: "usage: " + cmd.UseLine()}
			}
			return atMost(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			event, err := c.event(file, payload)
			if err != nil {
				return err
			}
			in, err := c.instance()
			if err != nil {
				return err
			}
			name, err := functionName(cmd, in, args[0])
			if err != nil {
				return err
			}
			res, err := in.Invoke(cmd.Context(), model.Invocation{Function: name, Payload: event, LogTail: withLog})
			if err != nil {
				return err
			}
			return c.answer(res, withLog)
		},
		ValidArgsFunction: c.functionNames,
	}
	cmd.Flags().StringVarP(&file, "event", "e", "", "file that holds the event, - for standard input")
	cmd.Flags().StringVar(&payload, "payload", "", "the event as JSON text")
	cmd.Flags().BoolVar(&withLog, "log", false, "print the end of the function's log to standard error")
	return cmd
}

// event reads the payload; "" means {}.
func (c *cli) event(file, payload string) ([]byte, error) {
	if file != "" && payload != "" {
		return nil, usagef("--event and --payload exclude each other")
	}
	text, from := []byte(payload), "--payload"
	var err error
	switch file {
	case "":
	case "-":
		from = "standard input"
		text, err = io.ReadAll(c.in)
	default:
		from = file
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, usagef("--event: %v", err)
	}
	if strings.TrimSpace(string(text)) == "" {
		return []byte("{}"), nil
	}
	var any json.RawMessage
	if err := json.Unmarshal(text, &any); err != nil {
		return nil, usagef("%s is not JSON: %v", from, err)
	}
	return text, nil
}

// functionName turns a logical id into the function's name; anything else is
// passed on, and an unknown name is refused with the names that exist.
func functionName(cmd *cobra.Command, in *client.Client, name string) (string, error) {
	s, err := in.Status(cmd.Context())
	if err != nil {
		return "", err
	}
	var known []string
	for _, f := range s.Functions {
		if f.LogicalID == name {
			return f.Name, nil
		}
		known = append(known, f.LogicalID)
	}
	if strings.HasPrefix(name, "arn:") {
		return name, nil
	}
	plain, _, _ := strings.Cut(name, ":")
	for _, f := range s.Functions {
		if f.Name == plain {
			return name, nil
		}
	}
	if len(known) == 0 {
		return "", fault.New(fault.NotFound, "there is no function %q: %s has no functions", name, s.Stack)
	}
	return "", fault.New(fault.NotFound, "there is no function %q in %s; it has %s", name, s.Stack, joined(known))
}

// answer prints the payload to standard output and everything else to standard
// error, so that the output can be piped.
func (c *cli) answer(res model.InvokeResult, withLog bool) error {
	look := c.look(c.err)
	if withLog {
		fmt.Fprintln(c.err, strings.TrimRight(look.Clean(string(res.LogTail)), "\n"))
		fmt.Fprintln(c.err, look.Paint(terminal.Dim, fmt.Sprintf("request %s, %.1f ms", res.RequestID, float64(res.Duration)/float64(time.Millisecond))))
	}
	text := string(res.Payload)
	if out := c.look(c.out); out.Color {
		text = out.JSON(text)
	}
	fmt.Fprintln(c.out, text)
	if res.FunctionError == "" {
		return nil
	}
	msg := "the function failed"
	if res.ErrorType != "" {
		msg += ": " + res.ErrorType
	}
	fmt.Fprint(c.err, terminal.Problem{Severity: "error", Message: msg, Hint: hintFor(withLog)}.Render(look))
	return errReported
}

func hintFor(withLog bool) string {
	if withLog {
		return ""
	}
	return "--log shows what the function printed"
}

// functionNames completes names from the running instance.
func (c *cli) functionNames(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	in, err := c.instance()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	s, err := in.Status(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, f := range s.Functions {
		names = append(names, f.LogicalID)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
