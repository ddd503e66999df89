package stack

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// The SAM translator's success inputs become applications with all their routes
// (SAM_TRANSLATOR names a checkout of aws/serverless-application-model; cfn's test
// compares resource by resource). The inputs were written for a transform, not to
// run: their code is put in place here, and what a deployment would refuse, too,
// is listed.
func TestSAMTranslatorInputsBecomeApplications(t *testing.T) {
	checkout := os.Getenv("SAM_TRANSLATOR")
	if checkout == "" {
		t.Skip("SAM_TRANSLATOR names no checkout of aws/serverless-application-model")
	}
	refused := map[string]string{ // by deployment: the findings' codes
		"websocket_api_route_config":     "bad-property unknown-model",
		"websocket_api_test_non_ref":     "bad-authorizer-uri bad-integration-uri",
		"websocket_api_with_auth_config": "bad-identity-source",
	}
	inputs, _ := filepath.Glob(filepath.Join(checkout, "tests", "translator", "input", "websocket_api*.yaml"))
	if len(inputs) == 0 {
		t.Fatal("no inputs in " + checkout)
	}
	for _, path := range inputs {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text := "Transform: AWS::Serverless-2016-10-31\n" + strings.NewReplacer("hello.handler", "index.handler", "Handler: bar", "Handler: index.bar",
				"index1.handler", "index.handler", "index2.handler", "index.handler", "index3.handler", "index.handler", "CodeUri: s3://bucket/key1", "CodeUri: fn",
				"CodeUri: s3://bucket/key2", "CodeUri: fn", "CodeUri: s3://bucket/key3", "CodeUri: fn", "CodeUri: s3://bucket/key", "CodeUri: fn").Replace(string(data))
			dir := t.TempDir()
			unpack(t, dir, &txtar.Archive{Files: []txtar.File{{Name: "template.yaml", Data: []byte(text)}, {Name: "fn/index.js"}, {Name: "fn/index.py"}}})
			r, err := Load(context.Background(), Options{Path: dir, Dir: dir, Parameters: map[string]string{"MyDomainName": "ws.example.com", "MyDomainCert": "arn:aws:acm:c",
				"HostedZoneId": "Z1", "MyRestRegionalDomainName": "ws.example.com", "MyRestRegionalDomainCert": "arn:aws:acm:c"}})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.Findings {
				if f.Severity == Error && !strings.Contains(" "+refused[name]+" ", " "+f.Code+" ") {
					t.Error(f)
				}
			}
			routes := 0
			for _, a := range r.App.APIs {
				routes += len(a.Routes)
				if len(a.Stages) != 1 || !a.Stages[0].Deployed {
					t.Errorf("%s has the stages %v", a.LogicalID, a.Stages)
				}
			}
			if want := strings.Count(text, "FunctionArn:"); routes != want {
				t.Errorf("%d routes, want %d", routes, want)
			}
		})
	}
}
