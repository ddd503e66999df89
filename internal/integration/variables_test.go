package integration

import (
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// render runs text as the only response template of a MOCK over a message.
func render(t *testing.T, text, eventType, body string) (string, error) {
	t.Helper()
	plan := Compile(&model.Integration{LogicalID: "M", Type: model.HTTP, URI: "http://127.0.0.1:1/", RequestTemplates: map[string]string{"$default": text}})
	if plan.Err() != nil {
		return "", plan.Err()
	}
	r := request(plan, eventType)
	r.StageVariables = map[string]string{"table": "orders", "odd-name": "x"}
	if eventType == event.TypeMessage {
		r.Body = []byte(body)
	}
	out, err := plan.payload(r, r.vars())
	return string(out), err
}

func TestVariables(t *testing.T) {
	const body = `{"a": {"b": "x", "n": 12, "f": 1.50, "t": true, "z": null}, "list": [1, "two", {"k":"v"}], "q": "it's \"q\"/é"}`
	for _, v := range []struct{ template, body, want string }{
		{`$input.body`, body, body},
		{`"$input.body"`, "plain text", `"plain text"`},
		{`$input.json('$')`, body, `{"a":{"b":"x","n":12,"f":1.50,"t":true,"z":null},"list":[1,"two",{"k":"v"}],"q":"it's \"q\"/é"}`},
		{`$input.json('$.a')`, body, `{"b":"x","n":12,"f":1.50,"t":true,"z":null}`},
		{`$input.json('$.a.b') $input.json('$.list[1]') $input.json('$.a.z')`, body, `"x" "two" null`},
		{`$input.json('$.nope')`, body, `""`},
		{`$input.json('$..k')`, body, `["v"]`},
		{`$input.json('$')`, "plain \"text\"", `"plain \"text\""`},
		{`$input.json('$.a')`, "plain", `""`},
		{`$input.json('$') $input.path('$.x')|$input.body|`, "", `{} ||`},
		{`$input.path('$.a.b') $input.path('$.a.n') $input.path('$.a.t')`, body, `x 12 true`},
		{`[$input.path('$.nope')]`, body, `[]`},
		{`$input.path('$.list').size() $input.path('$.list[2].k') $input.path('$.list.length()')`, body, `3 v 3`},
		{`#foreach($e in $input.path('$.list'))$velocityCount:$e#if($foreach.hasNext), #end#end`, body, `1:1, 2:two, 3:{k=v}`},
		{`#set($root = $input.path('$'))$root.a.b $root.a.get('n') $!root.nope`, body, `x 12 `},
		{`#foreach($e in $input.path('$.a').entrySet())$e.key=$e.value;#end`, `{"a":{"z":1,"b":"2"}}`, `z=1;b=2;`},
		{`$input.params('token')|$input.params().size()|$input.params().get('header')`, body, `|3|{}`},
		{`$context.connectionId $context.stage $context.routeKey $context.eventType $context.apiId`, body, `Qa1zTdYbrRcCJ4w= prod placeOrder MESSAGE k3v9x1m2qz`},
		{`$context.messageId $context.requestId $context.extendedRequestId $context.requestTime`, body, `Qa2CpfZ1rRcCJ4w= Qa2CpFYtrRcFh2k= Qa2CpFYtrRcFh2k= 05/Aug/2025:12:14:10 +0000`},
		{`#set($e = $context.requestTimeEpoch + 86400)$e $context.connectedAt`, body, `1754396136777 1754395986101`},
		{`$context.identity.sourceIp $context.identity.userAgent [$context.identity.user]`, body, `198.51.100.23 acme-client/2.4 []`},
		{`$context.authorizer.principalId $context.authorizer.seats [$context.authorizer.nope] $context.authorizer.get('seats')`, body, `user-77 5 [] 5`},
		{`[$context.nope] [$context.error.messageString]`, body, `[] []`},
		{`$stageVariables.table ${stageVariables.table} $stageVariables.get('odd-name')`, body, `orders orders x`},
		{`$util.escapeJavaScript($input.path('$.q'))`, body, `it\'s \"q\"\/\u00E9`},
		{`$util.escapeJavaScript($input.json('$.a.b')).replaceAll("\\'","'")`, body, `\"x\"`},
		{`$util.escapeJavaScript("$input.path('$.q')").replaceAll("\\'","'")`, body, `it's \"q\"\/\u00E9`},
		{`$util.parseJson($input.path('$.s')).x.y`, `{"s":"{\"x\":{\"y\":[1,2]}}"}`, `[1, 2]`},
		{`$util.urlEncode($input.body)`, `a b&c=d~*é/`, `a+b%26c%3Dd%7E*%C3%A9%2F`},
		{`$util.urlDecode('a+b%26%C3%A9')`, "", `a b&é`},
		{`$util.base64Encode($input.body)`, "é", `w6k=`},
		{`$util.base64Decode('w6k=') $util.base64Decode('w6k')`, "", `é é`},
		{"\U0001F600 $util.escapeJavaScript($input.body)", "\U0001F600\n\t\x01", "\U0001F600 \\uD83D\\uDE00\\n\\t\\u0001"},
	} {
		got, err := render(t, v.template, event.TypeMessage, v.body)
		if err != nil || got != v.want {
			t.Errorf("%s\n of %s\n = %q, %v\nwant %q", v.template, v.body, got, err, v.want)
		}
	}
}

func TestVariablesOfHandshakes(t *testing.T) {
	for template, want := range map[string]string{
		`$input.params('token') $input.params('cookie') $input.params('nope')|`:         "t1 a=b |",
		`$input.params().querystring.token $input.params().get('header').get('Cookie')`: "t1 a=b",
		`$input.params().header.Cookie $input.params('path')|`:                          "a=b |",
		`$context.eventType [$context.messageId]`:                                       "CONNECT []",
		`$input.json('$') [$input.body]`:                                                "{} []",
	} {
		if got, err := render(t, template, event.TypeConnect, ""); err != nil || got != want {
			t.Errorf("%s = %q, %v; want %q", template, got, err, want)
		}
	}
}

// A template that fails is an error that names place and reason; none takes the
// process, a core or the memory with it (S18).
func TestTemplatesFailByName(t *testing.T) {
	big := `{"list":[` + strings.Repeat("1,", 60_000) + `1]}`
	for name, v := range map[string]struct{ template, body, want string }{
		"method":             {`$input.nope('x')`, "{}", "$input has no method nope"},
		"arguments":          {`$input.json()`, "{}", "$input has no method json with 0 arguments"},
		"path":               {`$input.path('$.a[')`, "{}", "JSON path"},
		"two descents":       {`$input.json('$..a..b')`, "{}", "more than once"},
		"util":               {`$util.toJson($input.body)`, "{}", "$util has no method toJson"},
		"context":            {`$context.nope()`, "{}", "$context has no method nope"},
		"no JSON":            {`$util.parseJson($input.body)`, "{", "not JSON"},
		"deep JSON":          {`$util.parseJson($input.body)`, strings.Repeat("[", 1000) + strings.Repeat("]", 1000), "not JSON"},
		"no base64":          {`$util.base64Decode('*')`, "", "not base64"},
		"no URL encoding":    {`$util.urlDecode('%zz')`, "", "urlDecode"},
		"steps":              {`#foreach($a in [1..1000])#foreach($b in [1..1000])#set($c = $a + $b)#end#end`, "", "step"},
		"quadratic paths":    {`#foreach($a in [1..1000])#set($x = $input.path('$.list'))#end`, big, "reads more JSON and text than it may"},
		"quadratic searches": {`#foreach($a in [1..1000])#set($x = $input.path('$.list[*]'))#end`, big, "reads more JSON and text than it may"},
		"deep searches":      {`#foreach($a in [1..1000])#set($x = $input.json('$..a'))#end`, strings.Repeat("[", 250) + strings.Repeat("[],", 30000) + "1" + strings.Repeat("]", 250), "reads more JSON and text than it may"},
		"parsing":            {`#foreach($a in [1..1000])#set($x = $util.parseJson($input.body))#end`, big, "reads more JSON and text than it may"},
		"escaping":           {`#foreach($a in [1..1000])#set($x = $util.escapeJavaScript($input.body))#end`, big, "reads more JSON and text than it may"},
		"output":             {`#set($s = "0123456789012345678901234567890123456789")#foreach($a in [1..1000])#foreach($b in [1..60])$s#end#end`, "", "output"},
		"doubling":           {`#set($s = "0123456789")#foreach($a in [1..100])#set($s = "$s$s")#end`, "", ""},
		"recursion":          {`#macro(m)#m()#end#m()`, "", ""},
		"endless":            {`#foreach($a in [1..2000000000])x#end`, "", ""},
	} {
		_, err := render(t, v.template, event.TypeMessage, v.body)
		if err == nil || !strings.Contains(err.Error(), v.want) || !strings.Contains(err.Error(), `integration M: RequestTemplates "$default":1:`) {
			t.Errorf("%s: %v, want %q", name, err, v.want)
		}
		if fault.Is(err, fault.BadRequest) {
			t.Errorf("%s: counts as the client's fault, and would be shown as 415", name)
		}
	}
}

// Velocity ways out of the sandbox lead nowhere.
func TestTemplatesCannotEscape(t *testing.T) {
	for _, template := range []string{
		`$input.getClass().forName('java.lang.Runtime')`, `$input.class.classLoader`, `$context.getClass()`, `$util.class`,
		`$stageVariables.getClass().getName()`, `#evaluate("$input.class")`, `#include("/etc/passwd")`, `#parse("/etc/passwd")`,
	} {
		out, err := render(t, template, event.TypeMessage, "{}")
		if err == nil && out != template && out != "$input.class" {
			t.Errorf("%s gives %q", template, out)
		}
	}
}
