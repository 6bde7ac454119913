# fish completion of panzerctl(1). packaging/completions writes this file.

function __panzerctl_has_command
    __fish_seen_subcommand_from status reload restart shutdown exit scale ready
end

complete -c panzerctl -f
complete -c panzerctl -n 'not __panzerctl_has_command' -a status -d 'show generations, workers, sockets, the last reload'
complete -c panzerctl -n 'not __panzerctl_has_command' -a reload -d 'start a new generation, wait until it is current'
complete -c panzerctl -n 'not __panzerctl_has_command' -a restart -d 'replace the main process only; workers keep running'
complete -c panzerctl -n 'not __panzerctl_has_command' -a shutdown -d 'stop gracefully, wait until main has exited'
complete -c panzerctl -n 'not __panzerctl_has_command' -a exit -d 'stop now, wait until main has exited'
complete -c panzerctl -n 'not __panzerctl_has_command' -a scale -d 'set the number of workers, or add or remove N'
complete -c panzerctl -n 'not __panzerctl_has_command' -a ready -d 'succeed if a worker is ready and main is not stopping'
complete -c panzerctl -n '__fish_seen_subcommand_from status' -l json -d 'as one JSON object'
complete -c panzerctl -n '__fish_seen_subcommand_from status' -l metrics -d 'as OpenMetrics text'
complete -c panzerctl -n '__fish_seen_subcommand_from status' -l watch -d 'every second, until interrupted'
complete -c panzerctl -s p -l pid -r -F -d 'pid file of the panzer to control [tmp/panzer.pid]'
complete -c panzerctl -s t -l timeout -x -d 'how long to wait for the result [no limit]'
complete -c panzerctl -l no-wait -d 'send the request, do not wait for the result'
complete -c panzerctl -s h -l help -d 'show the options'
complete -c panzerctl -s V -l version -d 'show the version'
