package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/iam"
)

// Credential is an access key that the user configured.
type Credential struct {
	Secret string
	User   string // name in events and policies; "": the access key id
	ARN    string // "": arn:aws:iam::{account}:user/{User}
	// Policies are what it may do; nil: everything.
	Policies []*iam.Policy
}

// restricted reports whether any credential has policies: checking costs every post
// the price of its ARN.
func (c *Config) restricted() bool {
	for _, cred := range c.Credentials {
		if cred.Policies != nil {
			return true
		}
	}
	return false
}

// ReadCredentials reads a credentials file:
//
//	{"AKIA…": {"secretAccessKey": "…", "user": "deploy", "arn": "…", "policies": [{"Version": "2012-10-17", "Statement": […]}]}}
//
// Errors name the file and the key, never a secret.
func ReadCredentials(path string) (map[string]Credential, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "the credentials file: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "the credentials file: %v", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.Forbidden, "%s holds secrets and others may read it (mode %04o): chmod 600 %s", path, info.Mode().Perm(), path)
	}
	var file map[string]struct {
		Secret   string          `json:"secretAccessKey"`
		User     string          `json:"user"`
		ARN      string          `json:"arn"`
		Policies json.RawMessage `json:"policies"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // a misspelt "policies" would allow everything
	if err := d.Decode(&file); err != nil {
		return nil, fault.New(fault.BadRequest, "%s: %v; want {\"ACCESS_KEY_ID\": {\"secretAccessKey\": …}}", path, err)
	}
	out := make(map[string]Credential, len(file))
	for _, key := range slices.Sorted(maps.Keys(file)) {
		in := file[key]
		if len(key) < 3 || in.Secret == "" {
			return nil, fault.New(fault.BadRequest, "%s: access key %q needs a secretAccessKey", path, key)
		}
		c := Credential{Secret: in.Secret, User: in.User, ARN: in.ARN}
		var policies []json.RawMessage
		if in.Policies != nil {
			c.Policies = []*iam.Policy{} // an empty list allows nothing
			if err := json.Unmarshal(in.Policies, &policies); err != nil || policies == nil {
				return nil, fault.New(fault.BadRequest, "%s: access key %s: policies is a list of policies; leave it out to allow everything", path, key)
			}
		}
		for i, raw := range policies {
			p, err := iam.Parse(raw)
			if err == nil && len(p.Problems()) > 0 { // it would decide, and against everybody
				err = errors.New(strings.Join(p.Problems(), "; "))
			}
			if err != nil {
				return nil, fault.New(fault.BadRequest, "%s: access key %s, policy %d: %s", path, key, i+1, fault.Message(err))
			}
			c.Policies = append(c.Policies, p)
		}
		out[key] = c
	}
	if len(out) == 0 {
		return nil, fault.New(fault.BadRequest, "%s holds no access key", path)
	}
	return out, nil
}
