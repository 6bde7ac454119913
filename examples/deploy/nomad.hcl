# A job of Nomad's exec driver. It was not run, and Nomad has not read it; it is valid HCL.
# The driver's root has /usr of the machine and not /srv, so the application is in /usr/local.
job "app" {
  group "app" {
    network {
      port "http" {}
    }
    task "app" {
      driver = "exec"
      config {
        command = "/usr/local/bin/panzer"
        args = [
          "-p", "${NOMAD_TASK_DIR}/panzer.pid", "--drain-delay", "5", "--timeout", "20",
          "-b", "0.0.0.0:${NOMAD_PORT_http}", "--", "/usr/local/bin/app",
        ]
      }
      # Main stops gracefully on SIGTERM; more than --drain-delay + --timeout + 2 s. A client of
      # Nomad allows 30 s at most, unless its max_kill_timeout is higher.
      kill_signal  = "SIGTERM"
      kill_timeout = "30s"
    }
    service {
      port = "http"
      # A check of this type needs Consul.
      check {
        type     = "script"
        task     = "app"
        command  = "/usr/local/bin/panzerctl"
        args     = ["-p", "${NOMAD_TASK_DIR}/panzer.pid", "ready"]
        interval = "5s"
        timeout  = "2s"
      }
    }
  }
}
