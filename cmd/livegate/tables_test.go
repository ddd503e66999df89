package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/pflag"

	"github.com/livegate/livegate/internal/awsapi"
	"github.com/livegate/livegate/internal/awsapi/dynamodb"
	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/control"
	"github.com/livegate/livegate/internal/storage"
	"github.com/livegate/livegate/internal/table"
)

func TestTablesScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/tables",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_DATA_HOME", filepath.Join(e.WorkDir, "xdg"))
			e.Values["stop"] = new(func())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "tables": tablesInstance},
	})
}

// tables DATADIR lets this test process stand in for a running application with
// real tables: Users (a key, an index) and Words (two keys, one of them binary).
// `tables stop` ends it.
func tablesInstance(ts *testscript.TestScript, _ bool, args []string) {
	if args[0] == "stop" {
		(*ts.Value("stop").(*func()))()
		return
	}
	data := ts.MkAbs(args[0])
	db, err := storage.Open(filepath.Join(data, "state.db"), storage.Config{Fast: true})
	ts.Check(err)
	engine, err := table.New(table.Config{Store: table.Over(db)})
	ts.Check(err)
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	status := client.Status{Stack: "shop", Region: "eu-west-1", Ready: true, PID: os.Getpid()}
	mux.Handle(client.Base+"/", control.New(control.Config{Status: func() client.Status { return status }, Token: "t0ken"}))
	mux.Handle("/", awsapi.New(awsapi.Config{Services: map[string]http.Handler{"dynamodb": dynamodb.New(engine)}}))
	api := &database{url: srv.URL, region: "eu-west-1", http: srv.Client()}
	api.key.ID, api.key.Secret = "x", "x"
	for _, in := range []string{
		`{"TableName":"Users","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"},{"AttributeName":"mail","AttributeType":"S"}],
		  "KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],
		  "GlobalSecondaryIndexes":[{"IndexName":"byMail","KeySchema":[{"AttributeName":"mail","KeyType":"HASH"}],"Projection":{"ProjectionType":"KEYS_ONLY"}}]}`,
		`{"TableName":"Words","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"lang","AttributeType":"S"},{"AttributeName":"raw","AttributeType":"B"}],
		  "KeySchema":[{"AttributeName":"lang","KeyType":"HASH"},{"AttributeName":"raw","KeyType":"RANGE"}]}`,
	} {
		var out struct{}
		if err := api.call(context.Background(), "CreateTable", json.RawMessage(in), &out); err != nil && !strings.Contains(err.Error(), "xist") && !strings.Contains(err.Error(), "in use") {
			ts.Check(err)
		}
	}
	cache := filepath.Join(ts.Getenv("XDG_DATA_HOME"), "livegate")
	ts.Check(client.WriteRunFile(data, cache, client.RunFile{URL: srv.URL, Token: "t0ken", Stack: "shop", Version: "test"}))
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		srv.CloseClientConnections()
		srv.Close()
		ts.Check(client.RemoveRunFile(data, cache))
		ts.Check(db.Close())
	}
	*ts.Value("stop").(*func()) = stop
	ts.Defer(stop)
}

// docs/cli.md names every command of tables and every flag, as "command --flag".
func TestTablesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	_, doc, _ := strings.Cut(string(text), "\n## livegate tables\n")
	doc, _, _ = strings.Cut(doc, "\n## ")
	for _, cmd := range (&cli{}).tablesCommand().Commands() {
		if !strings.Contains(doc, "`"+cmd.Use+"`") {
			t.Errorf("tables %s is not documented", cmd.Use)
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !strings.Contains(doc, "`"+cmd.Name()+" --"+f.Name+"`") {
				t.Errorf("tables %s --%s is not documented", cmd.Name(), f.Name)
			}
		})
	}
}

func TestPlainAndBack(t *testing.T) {
	text := `{"a":"x","b":1.50,"c":true,"d":null,"e":["y",2],"f":{"g":"<&>"}}`
	it, err := readItem([]byte(text), true)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(line(it, true)); got != text {
		t.Errorf("%s became %s", text, got)
	}
	again, err := readItem(line(it, false), false)
	if err != nil || string(line(again, true)) != text {
		t.Errorf("through DynamoDB JSON: %s, %v", line(again, true), err)
	}
	sets := `{"n":{"NS":["1","22"]},"s":{"SS":["a"]},"b":{"B":"AQI="},"bs":{"BS":["AQI="]}}`
	it, err = readItem([]byte(sets), false)
	if err != nil || string(line(it, true)) != `{"b":"AQI=","bs":["AQI="],"n":[1,22],"s":["a"]}` {
		t.Errorf("%s, %v", line(it, true), err)
	}
	for _, bad := range []string{`[]`, `{"a":1}`, `{"a":{}}`, `{"a":{"S":"x"}} x`, `{`} {
		if _, err := readItem([]byte(bad), false); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
