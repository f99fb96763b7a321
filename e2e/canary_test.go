//go:build e2e

package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Secrets that are given to a run must not be found anywhere afterwards, nor
// while it runs in what the machine shows of processes and containers.
func TestCanariesAreFoundNowhere(t *testing.T) {
	for _, backend := range []string{"docker", "process"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, backend)
			w.createPool("canaries")
			launcher := w.launcher("one", "SPACELIFT_DEBUG=true",
				"SPACELIFT_WHITELIST_ENVS=LAUNCHER_CANARY", "SPACELIFT_MASK_ENVS=LAUNCHER_CANARY", "LAUNCHER_CANARY=canary-launcher-8c41")
			w.worker("one")
			canaries := map[string]string{
				"a secret variable":            "canary-variable-71f3",
				"a secret file":                "canary-file-90aa",
				"a sensitive Terraform value":  "canary-sensitive-e0d2",
				"a variable of the launcher's": "canary-launcher-8c41",
			}
			url, _ := repository(t, map[string]string{"main.tf": `
variable "password" {
  type      = string
  sensitive = true
}

resource "terraform_data" "login" {
  input = var.password
}

output "password" {
  value     = terraform_data.login.output
  sensitive = true
}
`})
			stack := w.stack("Canaries", stackOptions{repository: url, mode: "sealed", hooks: map[string][]string{
				"beforePlan": {
					`echo "variable $API_PASSWORD" "launcher $LAUNCHER_CANARY"`, "cat /mnt/workspace/secret.txt",
					"for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do test -f /mnt/workspace/go && break; sleep 0.2; done",
				},
			}})
			w.setConfig(stack, "ENVIRONMENT_VARIABLE", "API_PASSWORD", canaries["a secret variable"], true)
			w.setConfig(stack, "ENVIRONMENT_VARIABLE", "TF_VAR_password", canaries["a sensitive Terraform value"], true)
			w.setConfig(stack, "FILE_MOUNT", "secret.txt", base64.StdEncoding.EncodeToString([]byte(canaries["a secret file"])), true)

			id := w.trigger(stack)
			eventually(t, time.Minute, "the hooks of the plan", func() string {
				log := w.logs(stack, id)
				if strings.Contains(log, "launcher *****") {
					return ""
				}
				return log
			})
			seen := map[string]string{"ps": run(t, nil, "ps", "auxww")}
			if backend == "docker" {
				for _, container := range strings.Fields(run(t, nil, "docker", "ps", "-aq")) {
					inspect, err := exec.Command("docker", "inspect", container).Output()
					if err != nil {
						continue // another test's, gone meanwhile
					}
					seen["docker inspect "+container] = string(inspect)
					logs, _ := exec.Command("docker", "logs", container).CombinedOutput()
					seen["docker logs "+container] = string(logs)
				}
			}
			for what, canary := range canaries {
				for where, text := range seen {
					if strings.Contains(text, canary) {
						t.Errorf("while the run goes on, %s stands in %s", what, where)
					}
				}
			}

			w.reach(stack, id, "UNCONFIRMED", time.Minute)
			if err := w.act("runConfirm", stack, id); err != nil {
				t.Fatal(err)
			}
			w.reach(stack, id, "FINISHED", time.Minute)
			log := w.logs(stack, id)
			for what, canary := range canaries {
				for where, text := range map[string]string{"the run's log": log, "the server's log": w.server.log.String(), "the launcher's log": launcher.log.String()} {
					if strings.Contains(text, canary) {
						t.Errorf("%s stands in %s", what, where)
					}
				}
			}
			if strings.Count(log, "*****") < 3 {
				t.Errorf("the log should show three masked values:\n%s", log)
			}
			launcher.stop(15)
			w.server.stop(15)
			for _, found := range search(t, w.dir, canaries) {
				t.Error(found)
			}
		})
	}
}

// search looks for each canary, plain and in base64, in all files below dir.
func search(t *testing.T, dir string, canaries map[string]string) (found []string) {
	t.Helper()
	files := 0
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for what, canary := range canaries {
			for _, form := range []string{canary, base64.StdEncoding.EncodeToString([]byte(canary))} {
				if bytes.Contains(content, []byte(form)) {
					found = append(found, fmt.Sprintf("%s stands in %s", what, strings.TrimPrefix(path, dir)))
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 5 {
		t.Fatalf("only %d files in %s: the search looked at the wrong place", files, dir)
	}
	return found
}
