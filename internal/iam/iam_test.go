package iam

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const connect = "arn:aws:execute-api:eu-west-1:111122223333:k3v9x1m2qz/prod/$connect"

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func request(values map[string][]string) *Request {
	return &Request{Action: "execute-api:Invoke", Resource: connect, Now: now, Values: func(key string) []string { return values[key] }}
}

func policy(t *testing.T, statements string) *Policy {
	t.Helper()
	p, err := Parse([]byte(`{"Version": "2012-10-17", "Statement": ` + statements + `}`))
	if err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
	return p
}

// Resources as the templates of WebSocket APIs write them. The one with two stars is
// the mistake users make: it is right for REST APIs, whose ARNs have a method.
func TestResources(t *testing.T) {
	const base = "arn:aws:execute-api:eu-west-1:111122223333:k3v9x1m2qz"
	for _, c := range []struct {
		resource string
		want     bool
	}{
		{connect, true},
		{"*", true},
		{"**", true},
		{"arn:aws:execute-api:*", true},
		{"arn:aws:execute-api:*:*:*", true},
		{"arn:aws:execute-api:*:*:k3v9x1m2qz/*", true},
		{base + "/*", true},
		{base + "/*/$connect", true},
		{base + "/prod/*", true},
		{base + "/prod/$*", true},
		{base + "/prod/$connec?", true},
		{base + "/????/$connect", true},
		{base + "/*/*", true},
		{base + "/prod/*/*", false},
		{base + "/*/*/*", false},
		{base + "/prod/GET/$connect", false},
		{base + "/prod", false},
		{base + "/prod/", false},
		{base + "/prod/$connect/", false},
		{base + "/prod/$Connect", false},
		{base + "/PROD/$connect", false},
		{base + "/dev/$connect", false},
		{base + "/prod/$connect?", false},
		{base + "/prod/$disconnect", false},
		{"arn:aws:execute-api:eu-west-1:111122223333:other/prod/$connect", false},
		{"arn:aws:execute-api:us-east-1:111122223333:k3v9x1m2qz/prod/$connect", false},
		{"arn:aws-cn:execute-api:eu-west-1:111122223333:k3v9x1m2qz/prod/$connect", false},
		{"?", false},
		{" *", false},
	} {
		p := policy(t, `{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "`+c.resource+`"}`)
		if got := Decide([]*Policy{p}, request(nil)).Allowed(); got != c.want {
			t.Errorf("%s: %v, want %v", c.resource, got, c.want)
		}
	}
}

func TestDecisions(t *testing.T) {
	const all = `"Resource": "*"`
	for _, c := range []struct {
		name, statements string
		want             Effect
		statement        int
	}{
		{"nothing", `[]`, ImplicitDeny, -1},
		{"allow", `[{"Effect": "Allow", "Action": "execute-api:Invoke", ` + all + `}]`, Allow, 0},
		{"one statement without a list", `{"Effect": "Allow", "Action": "execute-api:Invoke", ` + all + `}`, Allow, 0},
		{"actions without case", `[{"Effect": "Allow", "Action": "Execute-API:invoke", ` + all + `}]`, Allow, 0},
		{"every action", `[{"Effect": "Allow", "Action": "*", ` + all + `}]`, Allow, 0},
		{"every action of the service", `[{"Effect": "Allow", "Action": "execute-api:*", ` + all + `}]`, Allow, 0},
		{"a list of actions", `[{"Effect": "Allow", "Action": ["s3:GetObject", "execute-api:Inv?ke"], ` + all + `}]`, Allow, 0},
		{"another action", `[{"Effect": "Allow", "Action": "execute-api:ManageConnections", ` + all + `}]`, ImplicitDeny, -1},
		{"an action's beginning", `[{"Effect": "Allow", "Action": "execute-api:Inv", ` + all + `}]`, ImplicitDeny, -1},
		{"deny after allow", `[{"Effect": "Allow", "Action": "*", ` + all + `}, {"Effect": "Deny", "Action": "execute-api:Invoke", ` + all + `}]`, ExplicitDeny, 1},
		{"deny before allow", `[{"Effect": "Deny", "Action": "*", ` + all + `}, {"Effect": "Allow", "Action": "*", ` + all + `}]`, ExplicitDeny, 0},
		{"a deny of something else", `[{"Effect": "Deny", "Action": "*", "Resource": "arn:aws:execute-api:*:*:*/dev/*"}, {"Effect": "Allow", "Action": "*", ` + all + `}]`, Allow, 1},
		{"not this action", `[{"Effect": "Allow", "NotAction": "execute-api:Invoke", ` + all + `}]`, ImplicitDeny, -1},
		{"not another action", `[{"Effect": "Allow", "NotAction": ["s3:*", "execute-api:ManageConnections"], ` + all + `}]`, Allow, 0},
		{"not this resource", `[{"Effect": "Allow", "Action": "*", "NotResource": "*/$connect"}]`, ImplicitDeny, -1},
		{"deny all but another", `[{"Effect": "Allow", "Action": "*", ` + all + `}, {"Effect": "Deny", "Action": "*", "NotResource": "*/$disconnect"}]`, ExplicitDeny, 1},
	} {
		got := Decide([]*Policy{nil, policy(t, c.statements)}, request(nil))
		if got.Effect != c.want || got.Statement != c.statement {
			t.Errorf("%s: %v by statement %d, want %v by %d", c.name, got.Effect, got.Statement, c.want, c.statement)
		}
		if c.statement >= 0 && got.Policy != 1 {
			t.Errorf("%s: by policy %d", c.name, got.Policy)
		}
	}
	if Decide(nil, request(nil)).Allowed() || (Decision{}).Allowed() {
		t.Error("no policies allow")
	}
}

// Each condition with the values that make it hold and those that do not; nil stands
// for a request without the key.
func TestConditions(t *testing.T) {
	for _, c := range []struct {
		condition string
		key       string
		holds     [][]string
		fails     [][]string
	}{
		{`"StringEquals": {"aws:Referer": "a"}`, "aws:referer", [][]string{{"a"}}, [][]string{nil, {"A"}, {"b"}, {"*"}, {"a", "b"}}},
		{`"StringEquals": {"AWS:referer": ["a", "b"]}`, "aws:referer", [][]string{{"a"}, {"b"}}, [][]string{{"c"}}},
		{`"StringEquals": {"aws:Referer": "*"}`, "aws:referer", [][]string{{"*"}}, [][]string{{"a"}}},
		{`"StringNotEquals": {"aws:Referer": ["a", "b"]}`, "aws:referer", [][]string{nil, {"c"}}, [][]string{{"a"}, {"b"}}},
		{`"StringEqualsIgnoreCase": {"aws:Referer": "aÉ"}`, "aws:referer", [][]string{{"Aé"}}, [][]string{{"b"}}},
		{`"StringNotEqualsIgnoreCase": {"aws:Referer": "a"}`, "aws:referer", [][]string{{"b"}, nil}, [][]string{{"A"}}},
		{`"StringLike": {"aws:Referer": "https://*.example.com/?"}`, "aws:referer", [][]string{{"https://a.b.example.com/x"}}, [][]string{nil, {"https://example.com/x"}, {"https://a.example.com/"}}},
		{`"StringNotLike": {"aws:Referer": "a*"}`, "aws:referer", [][]string{{"b"}, nil}, [][]string{{"a"}, {"ab"}}},
		{`"StringEqualsIfExists": {"aws:Referer": "a"}`, "aws:referer", [][]string{nil, {"a"}}, [][]string{{"b"}}},
		{`"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/team/*"}`, "aws:principalarn", [][]string{{"arn:aws:iam::1:user/team/ann"}}, [][]string{nil, {"arn:aws:iam::1:user/ann"}, {"arn:aws:iam:x:y:z:user/team/ann"}, {"x"}}},
		{`"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::1:user/?nn"}`, "aws:principalarn", [][]string{{"arn:aws:iam::1:user/ann"}}, [][]string{{"arn:aws:iam::1:user/nn"}}},
		{`"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::1:*"}`, "aws:principalarn", [][]string{{"arn:aws:iam::2:user/a"}, nil}, [][]string{{"arn:aws:iam::1:user/a"}}},
		{`"IpAddress": {"aws:SourceIp": "::ffff:198.51.100.0/120"}`, "aws:sourceip", [][]string{{"198.51.100.7"}, {"::ffff:198.51.100.7"}}, [][]string{nil, {"198.51.101.7"}}},
		{`"NotIpAddress": {"aws:SourceIp": "::ffff:198.51.100.7"}`, "aws:sourceip", [][]string{nil, {"198.51.100.8"}}, [][]string{{"198.51.100.7"}}},
		{`"NumericLessThan": {"x:age": "10"}`, "x:age", [][]string{{"9"}, {"-1"}, {"9.5"}}, [][]string{nil, {"10"}, {"11"}, {"x"}, {"NaN"}}},
		{`"NumericGreaterThanEquals": {"x:age": 10}`, "x:age", [][]string{{"10"}, {"11"}}, [][]string{{"9"}, {"NaN"}}},
		{`"NumericNotEquals": {"x:age": "10"}`, "x:age", [][]string{{"9"}, nil}, [][]string{{"10"}, {"10.0"}}},
		{`"DateGreaterThan": {"x:at": "2026-01-01T00:00:00Z"}`, "x:at", [][]string{{"2026-01-01T00:00:01Z"}, {"1900000000"}}, [][]string{nil, {"2025-12-31"}, {"2026-01-01T00:00:00Z"}, {"soon"}}},
		{`"DateLessThan": {"aws:CurrentTime": "2026-11-24T00:00:00Z"}`, "-", [][]string{nil}, nil},
		{`"DateLessThan": {"aws:CurrentTime": "2026-11-23T11:59:59Z"}`, "-", nil, [][]string{nil}},
		{`"NumericLessThan": {"aws:EpochTime": "1"}`, "-", nil, [][]string{nil}},
		{`"Bool": {"aws:SecureTransport": "true"}`, "aws:securetransport", [][]string{{"true"}, {"TRUE"}}, [][]string{nil, {"false"}, {"1"}}},
		{`"Bool": {"aws:SecureTransport": false}`, "aws:securetransport", [][]string{{"false"}}, [][]string{{"true"}}},
		{`"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "2001:db8::/32"]}`, "aws:sourceip", [][]string{{"203.0.113.9"}, {"::ffff:203.0.113.9"}, {"2001:db8::1"}}, [][]string{nil, {"203.0.114.1"}, {"x"}}},
		{`"IpAddress": {"aws:SourceIp": "203.0.113.9"}`, "aws:sourceip", [][]string{{"203.0.113.9"}}, [][]string{{"203.0.113.8"}}},
		{`"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}`, "aws:sourceip", [][]string{{"8.8.8.8"}, nil}, [][]string{{"203.0.113.9"}}},
		{`"BinaryEquals": {"x:key": "QmluYXJ5"}`, "x:key", [][]string{{"QmluYXJ5"}}, [][]string{{"x"}, nil}},
		{`"Null": {"x:key": "true"}`, "x:key", [][]string{nil}, [][]string{{""}, {"a"}}},
		{`"Null": {"x:key": false}`, "x:key", [][]string{{"a"}}, [][]string{nil}},
		{`"ForAnyValue:StringEquals": {"x:tags": ["a", "b"]}`, "x:tags", [][]string{{"z", "b"}}, [][]string{nil, {"z"}}},
		{`"ForAllValues:StringLike": {"x:tags": ["a*"]}`, "x:tags", [][]string{nil, {"a", "ab"}}, [][]string{{"a", "z"}}},
		{`"ForAllValues:StringNotEquals": {"x:tags": ["a"]}`, "x:tags", [][]string{nil, {"b"}}, [][]string{{"a", "b"}}},
		{`"StringLike": {"x:key": "*"}, "Null": {"x:key": "false"}`, "x:key", [][]string{{"a"}}, [][]string{nil}},
		{`"StringEquals": {"x:key": "a", "x:other": "b"}`, "x:key", nil, [][]string{{"a"}}},
	} {
		p := policy(t, `{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {`+c.condition+`}}`)
		if len(p.Problems()) > 0 {
			t.Errorf("%s: %q", c.condition, p.Problems())
		}
		try := func(values []string, want bool) {
			if got := Decide([]*Policy{p}, request(map[string][]string{c.key: values})).Allowed(); got != want {
				t.Errorf("%s with %q: %v, want %v", c.condition, values, got, want)
			}
		}
		for _, v := range c.holds {
			try(v, true)
		}
		for _, v := range c.fails {
			try(v, false)
		}
	}
}

// What is not understood is read against the caller, and said.
func TestUnknownConditionsFailClosed(t *testing.T) {
	for _, condition := range []string{
		`"StringEquivalent": {"aws:SourceIp": "1.2.3.4"}`, `"stringequals": {"aws:SourceIp": "1.2.3.4"}`,
		`"NumericLessThan": {"aws:SourceIp": "x"}`, `"IpAddress": {"aws:SourceIp": "1.2.3.4/99"}`, `"Bool": {"aws:SourceIp": "maybe"}`,
		`"DateLessThan": {"aws:CurrentTime": "tomorrow"}`, `"NullIfExists": {"aws:SourceIp": "true"}`, `"ForAnyValue:Null": {"aws:SourceIp": "true"}`,
		`"ArnLike": {"aws:PrincipalArn": "user/ann"}`, `"": {"aws:SourceIp": "1.2.3.4"}`,
	} {
		for _, ip := range [][]string{nil, {"1.2.3.4"}, {"5.6.7.8"}} {
			r := request(map[string][]string{"aws:sourceip": ip})
			allow := policy(t, `{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {`+condition+`}}`)
			if Decide([]*Policy{allow}, r).Allowed() {
				t.Errorf("%s: an Allow applies", condition)
			}
			deny := policy(t, `[{"Effect": "Allow", "Action": "*", "Resource": "*"}, {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {`+condition+`}}]`)
			if got := Decide([]*Policy{deny}, r); got.Effect != ExplicitDeny {
				t.Errorf("%s: a Deny does not apply", condition)
			}
			if len(allow.Problems()) != 1 || !strings.HasPrefix(allow.Problems()[0], "statement 0: ") {
				t.Errorf("%s: %q", condition, allow.Problems())
			}
		}
	}
}

func TestVariables(t *testing.T) {
	ann := map[string][]string{"aws:username": {"ann"}}
	star := map[string][]string{"aws:username": {"*"}}
	for _, c := range []struct {
		version, statement string
		values             map[string][]string
		resource           string
		want               bool
	}{
		{"2012-10-17", `"Effect": "Allow", "Action": "*", "Resource": "chat/${aws:username}/*"`, ann, "chat/ann/x", true},
		{"2012-10-17", `"Effect": "Allow", "Action": "*", "Resource": "chat/${aws:UserName}/*"`, ann, "chat/bob/x", false},
		{"2012-10-17", `"Effect": "Allow", "Action": "*", "Resource": "chat/${aws:username}/*"`, star, "chat/bob/x", false},
		{"2012-10-17", `"Effect": "Allow", "Action": "*", "Resource": "chat/${aws:username}/*"`, star, "chat/*/x", true},
		{"2012-10-17", `"Effect": "Allow", "Action": "*", "Resource": "chat/${aws:username}/*"`, nil, "chat//x", false},
		{"2012-10-17", `"Effect": "Allow", "Action": "*", "Resource": "chat/${aws:username, 'guest'}"`, nil, "chat/guest", true},
		{"2012-10-17", `"Effect": "Allow", "Action": "*", "Resource": "chat/${*}${?}${$}{x}"`, nil, "chat/*?${x}", true},
		{"2012-10-17", `"Effect": "Allow", "Action": "*", "Resource": "chat/${*}"`, nil, "chat/x", false},
		{"2008-10-17", `"Effect": "Allow", "Action": "*", "Resource": "chat/${aws:username}"`, ann, "chat/ann", false},
		{"2008-10-17", `"Effect": "Allow", "Action": "*", "Resource": "chat/${aws:username}"`, ann, "chat/${aws:username}", true},
		{"2012-10-17", `"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"x:who": "${aws:username}"}}`, map[string][]string{"aws:username": {"ann"}, "x:who": {"ann"}}, "x", true},
		// Without a user name these would hold for everybody.
		{"2012-10-17", `"Effect": "Allow", "Action": "*", "NotResource": "chat/${aws:username}"`, nil, "chat/x", false},
		{"2012-10-17", `"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringNotEquals": {"x:who": "${aws:username}"}}`, nil, "x", false},
	} {
		p, err := Parse([]byte(`{"Version": "` + c.version + `", "Statement": {` + c.statement + `}}`))
		if err != nil {
			t.Fatal(err)
		}
		r := request(c.values)
		r.Resource = c.resource
		if got := Decide([]*Policy{p}, r).Allowed(); got != c.want {
			t.Errorf("%s %s on %s with %v: %v, want %v", c.version, c.statement, c.resource, c.values, got, c.want)
		}
	}
}

func TestRefusesWhatIsNoPolicy(t *testing.T) {
	const good = `"Effect": "Allow", "Action": "*", "Resource": "*"`
	for _, text := range []string{
		``, `null`, `[]`, `"x"`, `7`, `{}`, `{"Version": "2012-10-17"}`, `{"Statement": "x"`, `{"Statement": [{` + good + `}]} x`,
		`{"Version": "2012-10-17", "Version": "2012-10-17", "Statement": []}`, `{"Version": "2023-01-01", "Statement": []}`,
		`{"version": "2012-10-17", "Statement": []}`, `{"statement": []}`, `{"Statement": [{` + good + `, "Principal": "*"}]}`,
		`{"Statement": [{"effect": "Allow", "Action": "*", "Resource": "*"}]}`, `{"Statement": [{"Effect": "allow", "Action": "*", "Resource": "*"}]}`,
		`{"Statement": [{"Effect": "Allow", "Action": "*"}]}`, `{"Statement": [{"Effect": "Allow", "Resource": "*"}]}`, `{"Statement": [{"Action": "*", "Resource": "*"}]}`,
		`{"Statement": [{` + good + `, "Effect": "Deny"}]}`, `{"Statement": [{` + good + `, "NotAction": "x"}]}`, `{"Statement": [{` + good + `, "NotResource": "x"}]}`,
		`{"Statement": [{"Effect": "Allow", "Action": [], "Resource": "*"}]}`, `{"Statement": [{"Effect": "Allow", "Action": "", "Resource": "*"}]}`,
		`{"Statement": [{"Effect": "Allow", "Action": 7, "Resource": "*"}]}`, `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": [null]}]}`,
		`{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": null}]}`, `{"Statement": [7]}`, `{"Statement": [[{` + good + `}]]}`,
		`{"Statement": [{` + good + `, "Condition": []}]}`, `{"Statement": [{` + good + `, "Condition": null}]}`, `{"Statement": [{` + good + `, "Condition": {"Bool": {}}}]}`,
		`{"Statement": [{` + good + `, "Condition": {"Bool": {"x": []}}}]}`, `{"Statement": [{` + good + `, "Condition": {"Bool": {"x": {}}}}]}`, `{"Statement": [{` + good + `, "Condition": {"Bool": "x"}}]}`,
		`{"Statement": ` + strings.Repeat(`[`, 100000) + strings.Repeat(`]`, 100000) + `}`, strings.Repeat(" ", MaxSize+1),
	} {
		p, err := Parse([]byte(text))
		if err == nil {
			t.Errorf("%.80s: accepted", text)
		}
		if p != nil && Decide([]*Policy{p}, request(nil)).Allowed() {
			t.Errorf("%.80s: allows", text)
		}
	}
}

// slow is the textbook matcher, exponential in stars.
func slow(pattern, text string) bool {
	switch {
	case pattern == "":
		return text == ""
	case pattern[0] == '*':
		return slow(pattern[1:], text) || text != "" && slow(pattern, text[1:])
	}
	return text != "" && (pattern[0] == '?' || pattern[0] == text[0]) && slow(pattern[1:], text[1:])
}

func FuzzMatch(f *testing.F) {
	for _, s := range [][2]string{{"a*b?c", "aXXbYc"}, {"*", ""}, {"", ""}, {"?*?", "ab"}, {"a*a", "a"}, {"*ab*ab*", "abab"}, {"**a", "ba"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if strings.Count(pattern, "*") > 5 || len(text) > 40 || len(pattern) > 40 {
			return
		}
		p := compilePattern(pattern, false, true, false)
		if got, want := p.match(&Request{}, text), slow(pattern, text); got != want {
			t.Fatalf("%q on %q: %v, want %v", pattern, text, got, want)
		}
		low := func(s string) string {
			return strings.Map(func(r rune) rune {
				if 'A' <= r && r <= 'Z' {
					return r + 'a' - 'A'
				}
				return r
			}, s)
		}
		if !isASCII(pattern) || !isASCII(text) {
			return
		}
		fold := compilePattern(pattern, true, true, false)
		if got, want := fold.match(&Request{}, text), slow(low(pattern), low(text)); got != want {
			t.Fatalf("%q on %q without case: %v, want %v", pattern, text, got, want)
		}
	})
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// Patterns that take a backtracking matcher longer than the universe has.
func TestMatchingIsNotExponential(t *testing.T) {
	text := strings.Repeat("a", 1600)
	for _, pattern := range []string{strings.Repeat("a*", 256) + "b", strings.Repeat("*a", 255) + "b*", strings.Repeat("*?", 256) + "b"} {
		p := compilePattern(pattern, false, true, false)
		started := time.Now()
		if p.match(&Request{}, text) {
			t.Errorf("%.20s… matches", pattern)
		}
		if d := time.Since(started); d > time.Second {
			t.Errorf("%.20s… took %v", pattern, d)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"Version":"2012-10-17","Statement":[{"Action":"execute-api:Invoke","Effect":"Allow","Resource":"*"}]}`,
		`{"Statement":{"Sid":"a","NotAction":["a","b"],"Effect":"Deny","NotResource":["x"],"Condition":{"ForAnyValue:StringLikeIfExists":{"aws:x":["${aws:y, 'z'}",7,true]}}}}`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"},"DateLessThan":{"aws:CurrentTime":"2030-01-01T00:00:00Z"}}}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse(text)
		if err != nil {
			if p != nil {
				t.Fatal("a policy and an error")
			}
			return
		}
		if !json.Valid(text) {
			t.Fatalf("%q is not JSON", text)
		}
		d := Decide([]*Policy{p}, request(map[string][]string{"aws:sourceip": {"1.2.3.4"}, "aws:username": {"ann"}}))
		if d.Allowed() && !strings.Contains(string(text), "llow") && !strings.Contains(string(text), `\u`) {
			t.Fatalf("%q allows", text)
		}
		if d.Effect == ImplicitDeny != (d.Statement < 0) {
			t.Fatalf("%+v", d)
		}
	})
}

func TestDecideDoesNotAllocate(t *testing.T) {
	policies := []*Policy{policy(t, `[{"Effect": "Deny", "Action": "execute-api:Invoke", "Resource": "*/secret"}, {"Effect": "Allow", "Action": ["s3:*", "EXECUTE-api:*"], "Resource": ["arn:aws:execute-api:*:*:k3v9x1m2qz/prod/*"]}]`)}
	r := Request{Action: "execute-api:Invoke", Resource: connect, Now: now}
	if n := testing.AllocsPerRun(100, func() {
		if !Decide(policies, &r).Allowed() {
			t.Fatal("denied")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDecide(b *testing.B) {
	p, err := Parse([]byte(`{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "execute-api:Invoke", "Resource": "*/secret"}, {"Effect": "Allow", "Action": "execute-api:*", "Resource": "arn:aws:execute-api:*:*:k3v9x1m2qz/prod/*"}]}`))
	if err != nil {
		b.Fatal(err)
	}
	policies := []*Policy{p}
	r := Request{Action: "execute-api:Invoke", Resource: connect, Now: now}
	b.ReportAllocs()
	for b.Loop() {
		Decide(policies, &r)
	}
}
