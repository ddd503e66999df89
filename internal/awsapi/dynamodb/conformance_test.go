package dynamodb_test

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/awsapi/dynamodb"
	"github.com/livegate/livegate/internal/storage"
	"github.com/livegate/livegate/internal/table"
)

// newServer serves a fresh store. The engine's directory goes with the test.
func newServer(t testing.TB) (*httptest.Server, *table.Engine) {
	t.Helper()
	db, err := storage.Open(filepath.Join(t.TempDir(), "state.db"), storage.Config{Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := table.New(table.Config{Store: table.Over(db), AccountID: "123456789012"})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(dynamodb.New(engine))
	t.Cleanup(func() {
		srv.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return srv, engine
}

// The public conformance suite (github.com/nubo-db/dynamodb-conformance, every
// case checked against real DynamoDB) is run from a checkout of its own, with
// its packages installed, when DYNAMODB_CONFORMANCE names it. Nothing of it is
// part of this repository.
func TestPublicConformanceSuite(t *testing.T) {
	dir := os.Getenv("DYNAMODB_CONFORMANCE")
	if dir == "" {
		t.Skip("DYNAMODB_CONFORMANCE does not name a checkout of nubo-db/dynamodb-conformance")
	}
	srv, _ := newServer(t)
	report := filepath.Join(t.TempDir(), "report.json")
	args := append([]string{"vitest", "run", "--reporter=json", "--outputFile=" + report}, strings.Fields(os.Getenv("DYNAMODB_CONFORMANCE_ARGS"))...)
	cmd := exec.CommandContext(t.Context(), "npx", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DYNAMODB_ENDPOINT="+srv.URL, "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local", "AWS_REGION=us-east-1")
	output, runErr := cmd.CombinedOutput() // it fails when any case fails; the report says which
	b, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v, %v\n%s", err, runErr, output)
	}
	var result struct {
		NumTotalTests, NumPassedTests int
		TestResults                   []struct {
			Name             string
			Message          string
			AssertionResults []struct {
				FullName, Status string
				FailureMessages  []string
			}
		}
	}
	if err := json.Unmarshal(b, &result); err != nil {
		t.Fatal(err)
	}
	for _, file := range result.TestResults {
		for _, c := range file.AssertionResults {
			if c.Status != "passed" {
				t.Logf("%s %s: %s", c.Status, c.FullName, strings.Join(c.FailureMessages, "\n"))
			}
		}
		if len(file.AssertionResults) == 0 {
			t.Logf("%s: %s", file.Name, file.Message)
		}
	}
	t.Logf("passed %d of %d", result.NumPassedTests, result.NumTotalTests)
	if result.NumPassedTests < wantConformance {
		t.Errorf("passed %d cases, passed %d before", result.NumPassedTests, wantConformance)
	}
}

// wantConformance is the number of cases that passed when it was last raised.
const wantConformance = 601
