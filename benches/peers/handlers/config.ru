# The handler for servers of Ruby: 12 bytes, the version and the pid.
version = Integer(File.read("version"), 10)
run lambda { |_|
  [200, { "content-type" => "text/plain", "content-length" => "12" },
   [format("%04d %7d", version, Process.pid)]]
}
