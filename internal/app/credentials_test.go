package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func credentialsFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadCredentials(t *testing.T) {
	const text = `{
		"AKIAALL":  {"secretAccessKey": "s1"},
		"AKIASOME": {"secretAccessKey": "s2", "user": "ann", "policies": [{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}]}]},
		"AKIANONE": {"secretAccessKey": "s3", "policies": []}}`
	got, err := ReadCredentials(credentialsFile(t, text, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	all, some, none := got["AKIAALL"], got["AKIASOME"], got["AKIANONE"]
	if len(got) != 3 || all.Secret != "s1" || all.Policies != nil || some.User != "ann" || len(some.Policies) != 1 || none.Policies == nil || len(none.Policies) != 0 {
		t.Errorf("%+v", got)
	}
	if !(&Config{Credentials: got}).restricted() || (&Config{Credentials: map[string]Credential{"A": all}}).restricted() {
		t.Error("restricted")
	}
}

func TestCredentialsFilesThatCannotBe(t *testing.T) {
	const secret = "topsecret"
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"others may read it": {`{"AKIAONE": {"secretAccessKey": "` + secret + `"}}`, 0o644, "chmod 600"},
		"not JSON":           {`{"AKIAONE": ` + secret, 0o600, "secretAccessKey"},
		"nobody in it":       {`{}`, 0o600, "no access key"},
		"without a secret":   {`{"AKIAONE": {}}`, 0o600, "AKIAONE"},
		"a misspelt member":  {`{"AKIAONE": {"secretAccessKey": "` + secret + `", "policy": []}}`, 0o600, "policy"},
		"policies null":      {`{"AKIAONE": {"secretAccessKey": "` + secret + `", "policies": null}}`, 0o600, "policies"},
		"a bad policy":       {`{"AKIAONE": {"secretAccessKey": "` + secret + `", "policies": [{"Statement": 5}]}}`, 0o600, "policy 1"},
	} {
		_, err := ReadCredentials(credentialsFile(t, c.text, c.mode))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "keys.json") || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := ReadCredentials(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there")
	}
}
