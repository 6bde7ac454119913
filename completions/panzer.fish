# fish completion of panzer(1). packaging/completions writes this file.

# Prints COMMAND and its arguments so far; fails where an option or its value is expected.
function __panzer_command
    set -l valued -n --count -b --bind --socket-mode -C --chdir -e --env-file -t --timeout --stop-signal --ready --ready-timeout --probation --drain-delay --delay --max-delay --give-up --hang-timeout --lifetime -u --user -p --pid -c --config --event-fd --notify-fd
    set -l words (commandline -opc)[2..]
    while set -q words[1]
        set -l word $words[1]
        if test "$word" = --
            string join -- \n $words[2..]
            return 0
        else if contains -- "$word" $valued
            set -q words[2]; or return 1
            set -e words[1..2]
        else if string match -q -- '-*' "$word"
            set -e words[1]
        else
            string join -- \n $words
            return 0
        end
    end
    not string match -q -- '-*' (commandline -ct)
end

# What is offered for a command line that is COMMAND alone.
function __panzer_complete_command
    set -l words (__panzer_command)
    set -l line (string join ' ' -- (string escape -- $words) (commandline -ct))
    # As one word with its option: a line may begin with dashes.
    complete --do-complete="$line"
    set -q words[1]; or __fish_complete_path (commandline -ct)
end

function __panzer_user
    set -l word (string replace -r '^--user=' '' -- (commandline -ct))
    set -l user (string match -r '^.*:' -- $word)
    if test -n "$user"
        printf "$user%s\n" (__fish_complete_groups | string replace -r '\t.*' '')
    else
        __fish_complete_users
    end
end

function __panzer_address
    set -l word (string replace -r '^--bind=' '' -- (commandline -ct))
    set -l front (string match -r '^.*?unix:' -- $word)
    if test -n "$front"
        set -l path (string sub -s (math 1 + (string length -- $front)) -- $word)
        printf "$front%s\n" (__fish_complete_path $path | string replace -r '\t.*' '')
    else
        set -l name (string match -r '^[A-Za-z0-9_.-]+=' -- $word)
        printf "$name%s\n" localhost: unix:
    end
end

complete -c panzer -f
complete -c panzer -n __panzer_command -a '(__panzer_complete_command)'
complete -c panzer -n 'not __panzer_command >/dev/null' -s n -l count -x -a 'auto' -d 'number of workers [COMMAND\'s own, else one per CPU]'
complete -c panzer -n 'not __panzer_command >/dev/null' -s x -l exec -d 'every worker runs COMMAND, which need not know Panzer'
complete -c panzer -n 'not __panzer_command >/dev/null' -s b -l bind -x -a '(__panzer_address)' -d 'listen on HOST:PORT, [V6]:PORT, :PORT or unix:/PATH'
complete -c panzer -n 'not __panzer_command >/dev/null' -l socket-mode -x -d 'permissions of the Unix sockets of --bind [umask]'
complete -c panzer -n 'not __panzer_command >/dev/null' -s C -l chdir -x -a '(__fish_complete_directories)' -d 'working directory, entered again at every start'
complete -c panzer -n 'not __panzer_command >/dev/null' -s e -l env-file -r -F -d 'KEY=VALUE lines, read again at every start'
complete -c panzer -n 'not __panzer_command >/dev/null' -s t -l timeout -x -d 'in a stop, SIGINT after SECS, SIGKILL 2 s later [60]'
complete -c panzer -n 'not __panzer_command >/dev/null' -l stop-signal -x -a 'TERM QUIT INT HUP USR1 USR2 WINCH' -d 'first signal of a stop for foreign programs [TERM]'
complete -c panzer -n 'not __panzer_command >/dev/null' -l ready -x -a 'notify' -d 'ready when it says so, or after SECS [notify]'
complete -c panzer -n 'not __panzer_command >/dev/null' -l ready-timeout -x -d 'a start that is not ready after SECS has failed [60]'
complete -c panzer -n 'not __panzer_command >/dev/null' -l probation -x -d 'roll back a reload that fails within SECS [1, or 5]'
complete -c panzer -n 'not __panzer_command >/dev/null' -l drain-delay -x -d 'after a stop request, serve for SECS more [0]'
complete -c panzer -n 'not __panzer_command >/dev/null' -l delay -x -d 'wait before a second restart, then doubled [0.1]'
complete -c panzer -n 'not __panzer_command >/dev/null' -l max-delay -x -d 'longest wait before a restart [30]'
complete -c panzer -n 'not __panzer_command >/dev/null' -l give-up -x -d 'exit after N failed first starts; 0: never [5]'
complete -c panzer -n 'not __panzer_command >/dev/null' -l hang-timeout -x -d 'end a worker that is busy for longer; 0: never [0]'
complete -c panzer -n 'not __panzer_command >/dev/null' -l lifetime -x -d 'replace a worker that is older; 0: never [0]'
complete -c panzer -n 'not __panzer_command >/dev/null' -s u -l user -x -a '(__panzer_user)' -d 'run COMMAND as this user; sockets are opened before'
complete -c panzer -n 'not __panzer_command >/dev/null' -s p -l pid -r -F -d 'pid file, with the control socket [tmp/panzer.pid]'
complete -c panzer -n 'not __panzer_command >/dev/null' -s c -l config -r -F -d 'YAML file with these options [config/panzer.yml]'
complete -c panzer -n 'not __panzer_command >/dev/null' -l event-fd -x -d 'write each event as a line of JSON to descriptor N'
complete -c panzer -n 'not __panzer_command >/dev/null' -l notify-fd -x -d 'write a newline to descriptor N once it serves'
complete -c panzer -n 'not __panzer_command >/dev/null' -l check -d 'show all options, and what is wrong with them'
complete -c panzer -n 'not __panzer_command >/dev/null' -s q -l quiet -d 'log warnings and errors only'
complete -c panzer -n 'not __panzer_command >/dev/null' -s v -l verbose -d 'log more'
complete -c panzer -n 'not __panzer_command >/dev/null' -s h -l help -d 'show the options'
complete -c panzer -n 'not __panzer_command >/dev/null' -s V -l version -d 'show the version'
