# bash completion of panzerctl(1). packaging/completions writes this file.

# Sets words, cword and starts: the words of the line before readline split them at = and :,
# the one that is completed, and where each begins in COMP_WORDS.
_panzerctl_words() {
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
_panzerctl_offer() {
	local reply
	mapfile -t reply < <(compgen "$@" -- "$value")
	COMPREPLY+=("${reply[@]}")
}

# Offers only what follows the last = or : of the word, where readline splits there.
_panzerctl_trim() {
	local last=${COMP_WORDS[COMP_CWORD]} i
	if [[ $last == [=:] ]]; then last=; fi
	local front=${value%"$last"}
	for i in "${!COMPREPLY[@]}"; do COMPREPLY[i]=${COMPREPLY[i]#"$front"}; done
}

_panzerctl() {
	local -a words starts
	local cword i option= value command=
	COMPREPLY=()
	_panzerctl_words
	value=${words[cword]}
	for ((i = 1; i < cword; i++)); do
		option=
		case ${words[i]} in
		-p | --pid | -t | --timeout)
			option=${words[i]}
			((++i))
			;;
		-*) ;;
		*) command=${command:-${words[i]}} ;;
		esac
	done
	if ((i > cword)); then
		_panzerctl_value
	elif [[ $value == --*=* ]]; then
		option=${value%%=*} value=${value#*=}
		_panzerctl_value
	elif [[ $value == -* ]]; then
		_panzerctl_offer -W '--pid --timeout --no-wait --help --version'
		case $command in
		status) _panzerctl_offer -W '--json --metrics --watch' ;;
		esac
	elif [[ -z $command ]]; then
		_panzerctl_offer -W 'status reload restart shutdown exit scale ready'
	fi
}

# A value of $option.
_panzerctl_value() {
	case $option in
	-p | --pid)
		compopt -o filenames
		_panzerctl_offer -f
		;;
	esac
}

complete -F _panzerctl panzerctl
