# The application for puma.
run lambda { |_| [200, { "content-type" => "text/plain" }, ["hello from #{Process.pid}\n"]] }
