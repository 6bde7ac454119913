# A job of Nomad's exec driver. Not run by a test.
job "app" {
  group "app" {
    network {
      port "http" { to = 8080 }
    }
    task "app" {
      driver = "exec"
      config {
        command = "/usr/local/bin/panzer"
        args = [
          "-p", "${NOMAD_TASK_DIR}/panzer.pid", "--drain-delay", "5", "--timeout", "20",
          "-b", "0.0.0.0:${NOMAD_PORT_http}", "--", "/srv/app/current/app",
        ]
      }
      # Main stops gracefully on SIGTERM; more than --drain-delay + --timeout + 2 s.
      kill_signal  = "SIGTERM"
      kill_timeout = "40s"
    }
    service {
      port = "http"
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
