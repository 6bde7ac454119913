# bash completion of panzer(1). packaging/completions writes this file.

# Sets words, cword and starts: the words of the line before readline split them at = and :,
# the one that is completed, and where each begins in COMP_WORDS.
_panzer_words() {
	local i rest=$COMP_LINE word
	words=() starts=()
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if ((i == 0)) || [[ $rest == [[:space:]]* ]]; then
			rest=${rest#"${rest%%[![:space:]]*}"}
			words+=("$word") starts+=("$i")
		else
			words[-1]+=$word
		fi
		rest=${rest#"$word"}
	done
	cword=$((${#words[@]} - 1))
}

# Offers what compgen finds for $value with these words.
_panzer_offer() {
	local reply
	mapfile -t reply < <(compgen "$@" -- "$value")
	COMPREPLY+=("${reply[@]}")
}

# Offers only what follows the last = or : of the word, where readline splits there.
_panzer_trim() {
	local last=${COMP_WORDS[COMP_CWORD]} i
	if [[ $last == [=:] ]]; then last=; fi
	local front=${value%"$last"}
	for i in "${!COMPREPLY[@]}"; do COMPREPLY[i]=${COMPREPLY[i]#"$front"}; done
}

_panzer() {
	local -a words starts
	local cword i=1 option= value is_end=
	COMPREPLY=()
	_panzer_words
	value=${words[cword]}
	while ((i < cword)); do
		option=
		case ${words[i]} in
		--)
			is_end=1
			((++i))
			break
			;;
		-n | --count | -b | --bind | --socket-mode | -C | --chdir | -e | --env-file | -t | --timeout | --stop-signal | --ready | --ready-timeout | --probation | --drain-delay | --delay | --max-delay | --give-up | --hang-timeout | --lifetime | -u | --user | -p | --pid | -c | --config | --event-fd | --notify-fd)
			option=${words[i]}
			((++i))
			;;
		-*) ;;
		*) break ;;
		esac
		((++i))
	done
	if ((i > cword)); then
		_panzer_value
	elif ((i < cword)); then
		_panzer_argument "${starts[i]}"
	elif [[ -z $is_end && $value == --*=* ]]; then
		option=${value%%=*} value=${value#*=}
		_panzer_value
	elif [[ -z $is_end && $value == -* ]]; then
		_panzer_offer -W '--count --exec --bind --socket-mode --chdir --env-file --timeout --stop-signal --ready --ready-timeout --probation --drain-delay --delay --max-delay --give-up --hang-timeout --lifetime --user --pid --config --event-fd --notify-fd --check --quiet --verbose --help --version'
	else
		compopt -o filenames
		_panzer_offer -c
		_panzer_offer -f
	fi
}

# An argument of COMMAND, which begins at this word: what its own completion offers, if the
# package bash-completion is there.
_panzer_argument() {
	if declare -F _comp_command_offset >/dev/null; then
		_comp_command_offset "$1"
	elif declare -F _command_offset >/dev/null; then
		_command_offset "$1"
	else
		compopt -o filenames
		_panzer_offer -f
	fi
}

# A value of $option.
_panzer_value() {
	case $option in
	-n | --count)
		_panzer_offer -W 'auto'
		_panzer_trim
		;;
	-b | --bind)
		if [[ $value == *unix:* ]]; then
			value=${value#*unix:}
			compopt -o filenames
			_panzer_offer -f
		else
			compopt -o nospace
			value=${value#*=}
			_panzer_offer -W 'localhost: unix:'
			_panzer_trim
		fi
		;;
	-C | --chdir)
		compopt -o filenames
		_panzer_offer -d
		;;
	-e | --env-file)
		compopt -o filenames
		_panzer_offer -f
		;;
	--stop-signal)
		_panzer_offer -W 'TERM QUIT INT HUP USR1 USR2 WINCH'
		_panzer_trim
		;;
	--ready)
		_panzer_offer -W 'notify'
		_panzer_trim
		;;
	-u | --user)
		if [[ $value == *:* ]]; then value=${value#*:}; _panzer_offer -g; else _panzer_offer -u; fi
		;;
	-p | --pid)
		compopt -o filenames
		_panzer_offer -f
		;;
	-c | --config)
		compopt -o filenames
		_panzer_offer -f
		;;
	esac
}

complete -F _panzer panzer
