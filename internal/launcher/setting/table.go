package setting

import "strings"

// Names that other packages need.
const (
	EnvToken       = "SPACELIFT_TOKEN"
	EnvKey         = "SPACELIFT_POOL_PRIVATE_KEY"
	EnvEarlier     = "SPACELIFT_EARLIER_POOL_PRIVATE_KEYS"
	EnvMarks       = "SPACELIFT_TRUSTED_MARKS_DIR"
	EnvPolicy      = "SPACELIFT_LAUNCHER_RUN_INITIALIZATION_POLICY"
	MetadataPrefix = "SPACELIFT_METADATA_"
)

// Row is one setting.
type Row struct {
	Env      string
	Flag     string // without dashes; empty only where Secret, or where the flag would name nothing
	Default  string
	Help     string // one sentence, for docs and --help
	Required bool
	Secret   bool // by environment alone
	Switch   bool // the flag alone means true
	// Lower: the name in small letters means the same, as elsewhere.
	Lower bool
	// Next marks a documented setting that this version does not have yet.
	Next bool

	read func(s *Settings, value string, in Input) error
}

// Table returns every setting, in the order of the documentation.
func Table() []Row {
	return []Row{
		{Env: EnvToken, Required: true, Secret: true, Help: "The pool's token, as shown when the pool was created.", read: readToken},
		{Env: EnvKey, Required: true, Secret: true, Help: "The pool's private key: base64 of the PEM file.", read: readKey},
		{Env: EnvToken + "_FILE", Flag: "token-file", Help: "Path of a file with the token, in place of SPACELIFT_TOKEN.", read: fromFile(tokenSource)},
		{Env: EnvToken + "_COMMAND", Flag: "token-command", Help: "Command for sh that prints the token, in place of SPACELIFT_TOKEN; it has a minute, and is run once at the start.", read: fromCommand(tokenSource)},
		{Env: EnvKey + "_FILE", Flag: "pool-private-key-file", Help: "Path of a file with the key, in PEM or its base64, in place of SPACELIFT_POOL_PRIVATE_KEY.", read: fromFile(keySource)},
		{Env: EnvKey + "_COMMAND", Flag: "pool-private-key-command", Help: "Command for sh that prints the key, in place of SPACELIFT_POOL_PRIVATE_KEY.", read: fromCommand(keySource)},
		{Env: EnvEarlier, Secret: true, Help: "Keys that the pool had before, each as SPACELIFT_POOL_PRIVATE_KEY has it, separated by commas: they open what was sealed to them, and nothing is sealed to them any more.", read: readEarlier},
		{Env: EnvEarlier + "_FILES", Flag: "earlier-pool-private-key-files", Help: "Paths of files with such keys, separated by commas.", read: readEarlierFiles},
		{Env: "SPACELIFT_DATA_DIR", Flag: "data", Default: "/opt/spacelift", Help: "Where the launcher keeps its key, its run directories and its caches. A container engine must see it at the same path.", read: readDataDir},
		{Env: "SPACELIFT_BACKEND", Flag: "backend", Default: "docker", Help: "Where runs live: docker (containers) or process (plain processes, no isolation; for a first look only).", read: readBackend},
		{Env: "SPACELIFT_WORKSPACE_ROOT", Flag: "workspace-root", Help: "Where the process backend keeps workspaces if it cannot show them at /mnt/workspace; must be equal on all workers of the pool.", read: absolute(func(s *Settings) *string { return &s.WorkspaceRoot })},
		{Env: "SPACELIFT_RECOVERY_RECIPIENTS", Flag: "recovery-recipients", Help: "Keys kept offline that can open what this launcher seals: age or SSH public keys, separated by commas or lines, or the path of a file with them. Sealed state needs at least one.", read: readRecovery},
		{Env: EnvMarks, Flag: "trusted-marks-dir", Help: "Directory in which the newest sealed state that was seen of each stack is remembered, so that no older one is believed; below the data directory if empty. One that all workers of the pool share makes them remember together. It must exist.", read: absolute(func(s *Settings) *string { return &s.MarksDir })},
		{Env: "SPACELIFT_DISK_FLOOR", Flag: "disk-floor", Default: "512MiB", Help: "Free space that the data directory's disk must have before the launcher takes a run; 0 takes runs in any case.", read: readDiskFloor},
		{Env: "SPACELIFT_ALLOW_FILE_SOURCE", Flag: "allow-file-source", Default: "false", Switch: true, Help: "Allow source from a repository on this host by a file:// address.", read: boolean(func(s *Settings) *bool { return &s.AllowFileSource })},
		{Env: "SPACELIFT_SSH_KNOWN_HOSTS", Flag: "ssh-known-hosts", Help: "Path of a known_hosts file with SSH host keys that the operator vouches for, beside those of a VCS integration. There is no trust on first use.", read: readKnownHosts},
		{Env: "SPACELIFT_WHITELIST_ENVS", Flag: "whitelist-envs", Help: "Variables of the launcher's environment that runs receive, separated by commas; ro_NAME is given to reading containers alone, wo_NAME to writing ones.", read: readWhitelist},
		{Env: "SPACELIFT_MASK_ENVS", Flag: "mask-envs", Help: "Variables whose values never appear in logs, separated by commas. It masks and does not pass them on.", read: readMaskEnvs},
		{Env: "SPACELIFT_WORKER_NETWORK", Flag: "worker-network", Help: "The engine's network that run containers join, by name or id; the engine's bridge if empty. One that the engine does not have stops the start.", read: readNetwork},
		{Env: "SPACELIFT_WORKER_RUNTIME", Flag: "worker-runtime", Help: "The engine's runtime for run containers, such as runsc; its default if empty. One that the engine does not know stops the start.", read: readRuntime},
		{Env: "SPACELIFT_WORKER_EXTRA_MOUNTS", Flag: "worker-extra-mounts", Help: "Files or directories of the host that run containers see: /host:/container, or /host:/container:ro for one that they cannot write to, separated by commas. One that the engine cannot mount stops the start.", read: mounts(Always, "SPACELIFT_WORKER_EXTRA_MOUNTS")},
		{Env: "SPACELIFT_WORKER_RO_EXTRA_MOUNTS", Flag: "worker-ro-extra-mounts", Help: "The same for reading containers alone (every phase but apply, perform and destroy); they may write there unless it says :ro.", read: mounts(ReadOnly, "SPACELIFT_WORKER_RO_EXTRA_MOUNTS")},
		{Env: "SPACELIFT_WORKER_WO_EXTRA_MOUNTS", Flag: "worker-wo-extra-mounts", Help: "The same for writing containers alone (apply, perform, destroy).", read: mounts(WriteOnly, "SPACELIFT_WORKER_WO_EXTRA_MOUNTS")},
		{Env: "SPACELIFT_LAUNCHER_LOGS_TIMEOUT", Flag: "logs-timeout", Default: "7m", Help: "How long a run may print nothing before it is ended.", read: readLogsTimeout},
		{Env: "SPACELIFT_LAUNCHER_RUN_TIMEOUT", Flag: "run-timeout", Default: "70m", Help: "How long a run's container may take.", read: readRunTimeout},
		{Env: "SPACELIFT_STANDBY_ENABLED", Flag: "standby-enabled", Default: "true", Help: "Keep a container waiting for the next run while the launcher is idle, made like the last run's: it begins much sooner, and takes the memory of one idle container.", read: boolean(func(s *Settings) *bool { return &s.Standby })},
		{Env: "SPACELIFT_DEFAULT_RUNNER_IMAGE", Flag: "default-runner-image", Default: "public.ecr.aws/spacelift/runner-terraform:latest", Help: "The runner image of stacks that name none.", read: image(func(s *Settings) *string { return &s.DefaultImage })},
		{Env: "SPACELIFT_DEFAULT_ANSIBLE_RUNNER_IMAGE", Flag: "default-ansible-runner-image", Default: "public.ecr.aws/spacelift/runner-ansible:latest", Help: "The runner image of Ansible stacks that name none. This version knows no Ansible stacks yet.", read: image(func(s *Settings) *string { return &s.DefaultAnsibleImage })},
		{Env: "SPACELIFT_DOCKER_CONFIG_DIR", Flag: "docker-config-dir", Help: "Directory with the config.json of registry credentials, as docker login writes it; its credential helpers are used. It is read at each pull and never written.", read: absolute(func(s *Settings) *string { return &s.DockerConfigDir })},
		{Env: "SPACELIFT_IMAGE_RETENTION", Flag: "image-retention", Default: "336h", Help: "How long an image that the launcher pulled may be unused before it is removed; 0 keeps all. Other images are never removed.", read: readImageRetention},
		{Env: "DOCKER_HOST", Flag: "docker-host", Help: "The container engine's address, such as unix:///var/run/docker.sock or tcp://host:2376; the default socket if empty.", read: text(func(s *Settings) *string { return &s.DockerHost })},
		{Env: "HTTP_PROXY", Secret: true, Lower: true, Help: "Proxy for http addresses, such as http://user:password@proxy.example.com:3128. The launcher and its runs use it; the container engine has a setting of its own. See [network.md](network.md).", read: proxy(func(s *Settings) *string { return &s.httpProxy })},
		{Env: "HTTPS_PROXY", Secret: true, Lower: true, Help: "Proxy for https addresses and the broker.", read: proxy(func(s *Settings) *string { return &s.httpsProxy })},
		{Env: "NO_PROXY", Flag: "no-proxy", Lower: true, Help: "What is reached without a proxy: hosts, domains, addresses and networks, separated by commas. This host always is.", read: text(func(s *Settings) *string { return &s.noProxy })},
		{Env: "ADDITIONAL_ROOT_CAS", Flag: "additional-root-cas", Help: "Certificates of private authorities that the launcher and its runs believe beside their system's: base64 of {\"caCertificates\": [\"base64 of PEM\"]}, that JSON itself, PEM, or the absolute path of a file with one of these. See [network.md](network.md).", read: readRoots},
		{Env: "SPACELIFT_RUN_LOG_LIMIT", Flag: "run-log-limit", Default: "2GiB", Help: "How much log the container of a run may write; the rest is dropped behind a line that says so. From 1MiB to 64GiB.", read: readLogLimit},
		{Env: "SPACELIFT_RUN_LOG_BACKLOG", Flag: "run-log-backlog", Default: "1GiB", Help: "How much of a run's log may wait on this host's disk while the mothership does not take it; then the tool waits for room. From 1MiB to 64GiB.", read: readLogBacklog},
		{Env: EnvPolicy, Flag: "run-initialization-policy", Help: "Path of a Rego file that is asked before each run whether it may go on. One that cannot be used stops the start, naming line and rule. See [initialization-policy.md](initialization-policy.md).", read: readPolicy},
		{Env: "SPACELIFT_DEBUG", Flag: "debug", Default: "false", Switch: true, Help: "Print the exact commands of a run to its log.", read: boolean(func(s *Settings) *bool { return &s.Debug })},
		{Env: "SPACELIFT_LOG_LEVEL", Flag: "log-level", Default: "info", Help: "What the launcher's own log tells: debug, info, warn or error.", read: readLogLevel},
		{Env: "SPACELIFT_SENSITIVE_OUTPUT_UPLOAD_ENABLED", Flag: "sensitive-output-upload-enabled", Next: true, Switch: true, Help: "Seal sensitive outputs for stacks that depend on this one."},
		{Env: "SPACELIFT_RUN_LOGS_ON_STANDARD_OUTPUT_ENABLED", Flag: "run-logs-on-standard-output-enabled", Next: true, Switch: true, Help: "Write run logs to standard output too."},
	}
}

// Docs renders docs/launcher-settings.md.
func Docs() string {
	var b strings.Builder
	b.WriteString("# Launcher settings\n\nMade from the table in `internal/launcher/setting`; `go test ./internal/launcher/setting -update` writes it anew.\n\n" +
		"A flag wins over the environment. A value that cannot be used stops the start and is named; exit code 2.\n" +
		"`HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` are read in small letters too. `SPACELIFT_METADATA_<key>` becomes the worker's tag `<key>`: letters, digits, dots, dashes and underscores, and one line of at most 1024 bytes.\n" +
		"`SPACELIFT_PRIVATEVCS_MAPPING_NAME_<n>` and `SPACELIFT_PRIVATEVCS_MAPPING_BASE_ENDPOINT_<n>` say which address is behind `private://NAME`, with `<n>` from 0 on without gaps: see [source.md](source.md).\n\n" +
		"| environment | flag | default | meaning |\n| --- | --- | --- | --- |\n")
	for _, row := range Table() {
		flag, def, help := "none: secrets do not belong into the list of processes", "", row.Help
		if row.Flag != "" {
			flag = "`--" + row.Flag + "`"
		}
		if row.Default != "" {
			def = "`" + row.Default + "`"
		}
		if row.Required {
			def = "required"
		}
		if row.Next {
			help += " **No effect in this version.**"
		}
		b.WriteString("| `" + row.Env + "` | " + flag + " | " + def + " | " + help + " |\n")
	}
	return b.String()
}

// Usage renders --help.
func Usage() string {
	var b strings.Builder
	b.WriteString("spacelift-launcher takes runs for a worker pool.\n\nUsage: spacelift-launcher [--name value ...]\n       spacelift-launcher version\n       spacelift-launcher policy test [--input FILE] POLICY\n       spacelift-launcher doctor [--json] [--name value ...]\n\n")
	for _, row := range Table() {
		if row.Next {
			continue
		}
		name := row.Env
		if row.Flag != "" {
			name = "--" + row.Flag + ", " + row.Env
		}
		b.WriteString("  " + name)
		if row.Default != "" {
			b.WriteString(" (" + row.Default + ")")
		}
		b.WriteString("\n      " + row.Help + "\n")
	}
	return b.String()
}
