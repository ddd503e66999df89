package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/terminal"
)

// verdict is the JSON of `livegate validate --json`.
type verdict struct {
	Valid    bool             `json:"valid"`
	Findings []client.Finding `json:"findings"`
}

func (c *cli) validateCommand() *cobra.Command {
	var template templateFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "validate [dir|template]",
		Short: "Say what in a template is wrong or not supported, with file:line",
		Long: `Load a template as dev would, without running anything, and report every finding:
errors (it cannot run), warnings (it runs, not as on AWS) and notes.
Exit code 1 when there are errors.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := template.config(args)
			if err != nil {
				return err
			}
			cfg.Getenv = c.getenv
			found, err := c.validate(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			bad := slices.ContainsFunc(found, func(f client.Finding) bool { return f.Severity == client.SeverityError })
			switch look := c.look(c.out); {
			case asJSON:
				if found == nil {
					found = []client.Finding{}
				}
				out := json.NewEncoder(c.out)
				out.SetIndent("", "  ")
				out.SetEscapeHTML(false)
				if err := out.Encode(verdict{!bad, found}); err != nil {
					return err
				}
			case len(found) == 0:
				fmt.Fprintln(c.out, look.Paint(terminal.Green, "✓")+" nothing to report")
			default:
				c.showFindings(c.out, look, found)
			}
			if bad {
				return errReported
			}
			return nil
		},
		ValidArgsFunction: templateFiles,
	}
	template.register(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, `print {"valid": bool, "findings": […]}`)
	return cmd
}
