package stack
import ("testing";"os";"fmt";"context";"encoding/json";"path/filepath")
func TestManual(t *testing.T){
 if os.Getenv("APPS")=="" {t.Skip()}
 dirs,_:=filepath.Glob(os.Getenv("APPS"))
 for _,d:=range dirs {
  params:=map[string]string{}
  if filepath.Base(d)!="x" && os.Getenv("PARAMS")!="" { params,_=ParseOverrides(os.Getenv("PARAMS")) }
  r,err:=Load(context.Background(),Options{Path:d,Dir:d,Parameters:params})
  fmt.Println("=====",d,err)
  if err!=nil{continue}
  for _,f:=range r.Findings{fmt.Println(f)}
  if os.Getenv("DUMP")!="" { j,_:=json.MarshalIndent(r.App,""," "); fmt.Println(string(j)) }
 }
}
