# An application for puma and unicorn.
run lambda { |_| [200, { "content-type" => "text/plain" }, ["hello from #{Process.pid}\n"]] }
