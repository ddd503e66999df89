package app

import (
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/livegate/livegate/internal/client"
)

// Status is what runs now, in the documented form.
func (a *App) Status() client.Status {
	s := client.Status{
		CAFile: a.userCA.File(), Ready: a.ready.Load(), EndpointURL: a.url("http", "127.0.0.1"),
		PID: os.Getpid(), Version: a.cfg.Version, StartedAt: a.started,
		Outputs: map[string]string{},
	}
	d := a.deployed.Load()
	if d == nil {
		return s
	}
	app := d.app
	if ca := a.ca.Load(); ca != nil && len(app.Domains) > 0 {
		s.DomainCAFile = ca.File()
		if ca != a.userCA { // it has an authority of its own for them; see trustDomains
			s.DomainCAFile = filepath.Join(a.dirs.data, "ca", "ca.pem")
		}
	}
	s.Stack, s.Region, s.AccountID = app.StackName, app.Region, app.AccountID
	s.Findings = findings(d.findings)
	host := a.publicHost()
	for _, api := range app.APIs {
		out := client.API{ID: api.ID, Name: api.Name, RouteSelectionExpression: api.RouteSelectionExpression}
		for _, r := range api.Routes {
			out.Routes = append(out.Routes, r.Key)
		}
		for _, st := range api.Stages {
			out.Stages = append(out.Stages, client.Stage{
				Name:               st.Name,
				WebSocketURL:       app.WebSocketURL(a.url("ws", host), api, st),
				SecureWebSocketURL: app.WebSocketURL(a.url("wss", host), api, st),
				ManagementURL:      app.WebSocketURL(a.url("http", host), api, st),
			})
		}
		s.APIs = append(s.APIs, out)
	}
	runs := map[string]string{}
	for _, f := range a.runtime.Functions() {
		runs[f.Name] = f.RunsOn
	}
	for _, fn := range app.Functions {
		s.Functions = append(s.Functions, client.Function{
			Name: fn.Name, LogicalID: fn.LogicalID, ARN: fn.ARN,
			Runtime: fn.Runtime, RunsOn: runs[fn.Name], Handler: fn.Handler,
		})
	}
	for _, t := range app.Tables {
		out := client.Table{Name: t.Name, LogicalID: t.LogicalID, ARN: t.ARN, HashKey: t.Key.Hash, RangeKey: t.Key.Range}
		for _, ix := range t.GSIs {
			out.Indexes = append(out.Indexes, ix.Name)
		}
		for _, ix := range t.LSIs {
			out.Indexes = append(out.Indexes, ix.Name)
		}
		s.Tables = append(s.Tables, out)
	}
	for _, o := range app.Outputs {
		s.Outputs[o.Name] = o.Value
	}
	return s
}

// publicHost is the name to show: localhost unless the user bound something else.
func (a *App) publicHost() string {
	switch a.cfg.Host {
	case "", "127.0.0.1", "::1", "0.0.0.0", "::":
		return "localhost"
	}
	return a.cfg.Host
}

func (a *App) url(scheme, host string) string {
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(a.port()))
}

func (a *App) runFile() client.RunFile {
	return client.RunFile{
		URL: a.url("http", "127.0.0.1"), Token: a.token, Version: a.cfg.Version,
		StartedAt: a.started, Stack: a.current().StackName, CAFile: a.userCA.File(),
	}
}
