package sts

import (
	"encoding/json"
	"encoding/xml"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/sigv4"
)

func call(method, target, body, key string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://sts.amazonaws.com"+target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if method == "GET" {
		sigv4.Presign(r, sigv4.Key{ID: key, Secret: "s"}, sigv4.Scope{Region: "us-east-1", Service: "sts"}, time.Now(), time.Minute)
	} else {
		sigv4.Sign(r, []byte(body), sigv4.Key{ID: key, Secret: "s"}, sigv4.Scope{Region: "us-east-1", Service: "sts"}, time.Now())
	}
	rec := httptest.NewRecorder()
	New(Config{Account: "123456789012", Function: func(k string) (string, bool) { return "chat", k == "ASIAWORKER" }}).ServeHTTP(rec, r)
	return rec
}

type response struct {
	XMLName xml.Name                              `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
	Result  struct{ Arn, UserId, Account string } `xml:"GetCallerIdentityResult"`
	Meta    struct{ RequestId string }            `xml:"ResponseMetadata"`
}

func TestGetCallerIdentity(t *testing.T) {
	for name, rec := range map[string]*httptest.ResponseRecorder{
		"POST":      call("POST", "/", "Action=GetCallerIdentity&Version=2011-06-15", "ASIAWORKER"),
		"presigned": call("GET", "/?Action=GetCallerIdentity&Version=2011-06-15", "", "ASIAWORKER"),
	} {
		var r response
		if err := xml.Unmarshal(rec.Body.Bytes(), &r); err != nil || rec.Code != 200 || rec.Header().Get("Content-Type") != "text/xml" {
			t.Fatalf("%s: %d %v\n%s", name, rec.Code, err, rec.Body)
		}
		if r.Result.Arn != "arn:aws:sts::123456789012:assumed-role/livegate/chat" || r.Result.Account != "123456789012" ||
			!strings.HasPrefix(r.Result.UserId, "AROA") || !strings.HasSuffix(r.Result.UserId, ":chat") || len(r.Result.UserId) != 26 || r.Meta.RequestId == "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	var r response
	if err := xml.Unmarshal(call("POST", "/", "Action=GetCallerIdentity", "AKIAUSER").Body.Bytes(), &r); err != nil || r.Result.Arn != "arn:aws:iam::123456789012:user/livegate" {
		t.Errorf("a user: %+v %v", r, err)
	}
}

func TestJSON(t *testing.T) {
	rec := call("POST", "/", "Action=GetCallerIdentity", "ASIAWORKER", "Accept", "application/json")
	var r struct {
		GetCallerIdentityResponse struct {
			GetCallerIdentityResult struct{ Arn, UserId, Account string }
		}
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &r); err != nil || !strings.HasSuffix(r.GetCallerIdentityResponse.GetCallerIdentityResult.Arn, "/livegate/chat") {
		t.Fatalf("%v %s", err, rec.Body)
	}
}

func TestOtherActions(t *testing.T) {
	for action, want := range map[string]struct {
		status int
		code   string
	}{
		"Action=AssumeRole": {501, "NotImplemented"},
		"Version=1":         {400, "MissingAction"},
		"Action=%zz":        {400, "MalformedQueryString"},
		"Action=<x>":        {501, "NotImplemented"},
	} {
		rec := call("POST", "/", action, "A")
		var e struct {
			Error struct{ Type, Code, Message string }
		}
		if err := xml.Unmarshal(rec.Body.Bytes(), &e); err != nil || rec.Code != want.status || e.Error.Code != want.code || e.Error.Message == "" {
			t.Errorf("%s: %d %v %s", action, rec.Code, err, rec.Body)
		}
	}
}
