package frame

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	kp "github.com/klauspost/compress/flate"
)

// The other end is zlib, as clients have it: a process reads one JSON line per
// job, {"bits": n, "messages": [base64 …], "inflate": bool}, and answers with one
// line of base64 messages. Messages of a job share a window.
const pythonPeer = `
import sys, json, zlib, base64
for line in sys.stdin:
    job = json.loads(line)
    if job["inflate"]:
        z = zlib.decompressobj(-job["bits"])
    else:
        z = zlib.compressobj(6, zlib.DEFLATED, -max(job["bits"], 9))
    out = []
    for m in job["messages"]:
        m = base64.b64decode(m)
        if job["inflate"]:
            # 64 bytes at a time: zlib may look back into its output, too, which
            # must not make up for a window that is too small.
            m, parts = m + b"\x00\x00\xff\xff", []
            while m or len(parts[-1]) == 64:
                parts.append(z.decompress(m, 64))
                m = z.unconsumed_tail
            r = b"".join(parts)
        else:
            r = z.compress(m) + z.flush(zlib.Z_SYNC_FLUSH)
            assert r.endswith(b"\x00\x00\xff\xff")
            r = r[:-4]
        out.append(base64.b64encode(r).decode())
    print(json.dumps(out), flush=True)
`

const nodePeer = `
const zlib = require("node:zlib"), lines = require("node:readline").createInterface({input: process.stdin});
const tail = Buffer.from([0, 0, 255, 255]);
const run = (z, data) => new Promise((done, fail) => {
  const got = [];
  const take = d => got.push(d);
  z.on("data", take); z.once("error", fail);
  z.write(data); z.flush(zlib.constants.Z_SYNC_FLUSH, () => { z.off("data", take); z.off("error", fail); done(Buffer.concat(got)); });
});
(async () => {
  for await (const line of lines) {
    const job = JSON.parse(line), out = [];
    const z = job.inflate ? zlib.createInflateRaw({windowBits: job.bits}) : zlib.createDeflateRaw({windowBits: Math.max(job.bits, 9)});
    for (const m of job.messages) {
      const data = Buffer.from(m, "base64");
      let r = await run(z, job.inflate ? Buffer.concat([data, tail]) : data);
      if (!job.inflate) r = r.subarray(0, r.length - 4);
      out.push(r.toString("base64"));
    }
    z.close();
    console.log(JSON.stringify(out));
  }
})().catch(e => { console.error(e); process.exit(1); });
`

type zlibJob struct {
	Bits     int      `json:"bits"`
	Inflate  bool     `json:"inflate"`
	Messages [][]byte `json:"messages"`
}

// zlibRun has a peer work on jobs. It skips the test where there is no such peer.
func zlibRun(t *testing.T, jobs []zlibJob, name string, args ...string) [][][]byte {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s here to compare with", name)
	}
	var in bytes.Buffer
	enc := json.NewEncoder(&in)
	for _, j := range jobs {
		if err := enc.Encode(j); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = &in
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, errs.String())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(jobs) {
		t.Fatalf("%d answers to %d jobs", len(lines), len(jobs))
	}
	results := make([][][]byte, len(jobs))
	for i, l := range lines {
		var texts []string
		if err := json.Unmarshal([]byte(l), &texts); err != nil {
			t.Fatal(err)
		}
		for _, s := range texts {
			b, err := base64.StdEncoding.DecodeString(s)
			if err != nil {
				t.Fatal(err)
			}
			results[i] = append(results[i], b)
		}
	}
	return results
}

// zlib inflates what we compress, with the window that was agreed and no larger,
// 8 bits included; and we inflate what it compresses, with that window.
func TestZlib(t *testing.T) {
	for _, peer := range []struct{ name, flag, script string }{{"python3", "-c", pythonPeer}, {"node", "-e", nodePeer}} {
		t.Run(peer.name, func(t *testing.T) {
			var jobs []zlibJob
			var want [][][]byte
			for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
				for _, takeover := range []bool{false, true} {
					var w *Window
					if takeover {
						w = NewWindow(uint8(bits))
					}
					var ours, plain [][]byte
					for _, p := range payloads() {
						if out, ok := Compress(nil, p, Dialect(bits), w); ok {
							ours, plain = append(ours, out), append(plain, p)
						}
					}
					jobs = append(jobs, zlibJob{bits, true, ours}, zlibJob{bits, false, append(payloads(), []byte("Hello"), []byte{})})
					want = append(want, plain, append(payloads(), []byte("Hello"), []byte{}))
				}
			}
			for i, got := range zlibRun(t, jobs, peer.name, peer.flag, peer.script) {
				w := NewWindow(uint8(max(jobs[i].Bits, minAsked)))
				for m, b := range got {
					var err error
					if !jobs[i].Inflate {
						pieces := 1 + m*100
						b, err = inflate(b, InflateLimits{Max: max(len(want[i][m]), 1), Ratio: -1}, w, func() int { return pieces })
					}
					if err != nil || !bytes.Equal(b, want[i][m]) {
						t.Errorf("bits %d, inflate %v, message %d: %d bytes of %d, %v", jobs[i].Bits, jobs[i].Inflate, m, len(b), len(want[i][m]), err)
					}
				}
			}
		})
	}
}

// A client that compresses with the other Go library, window and all.
func TestKlauspost(t *testing.T) {
	for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			var b bytes.Buffer
			z, err := kp.NewWriterWindow(&b, 1<<bits)
			if err != nil {
				t.Fatal(err)
			}
			w := NewWindow(uint8(bits))
			for i, p := range payloads() {
				b.Reset()
				z.Write(p)
				z.Flush()
				got, err := inflate(bytes.TrimSuffix(b.Bytes(), []byte(deflateTail)), InflateLimits{Max: len(p), Ratio: -1}, w, func() int { return 777 })
				if err != nil || !bytes.Equal(got, p) {
					t.Fatalf("message %d: %d bytes of %d, %v", i, len(got), len(p), err)
				}
			}
		})
	}
}
