# puma below Panzer: it finds the socket of its address among those that it was given, and says
# READY=1 when the last worker is forked.
require "socket"

count = Integer(ENV.fetch("WORKERS"))
workers count
threads 1, 1
preload_app!
bind "tcp://127.0.0.1:#{ENV.fetch("PORT")}"
rackup "config.ru"
after_worker_fork do |index|
  path = ENV["NOTIFY_SOCKET"]
  if path && index == count - 1
    Socket.new(:UNIX, :DGRAM).send("READY=1", 0, Socket.pack_sockaddr_un(path.sub(/\A@/, "\0")))
  end
end
