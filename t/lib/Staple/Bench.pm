# Licensed under the Apache License, Version 2.0; see LICENSE.

# Measuring a server from outside: processor time, memory, and load by
# t/tools/load; and tables in Markdown. For t/bench.

package Staple::Bench;

use strict;
use warnings;

use parent 'Exporter';
use JSON::PP qw(decode_json);
use List::Util qw(max sum);
use Time::HiRes qw(time);

use Staple::Work qw(work_dir build_dir read_file run spawn is_running wait_for);

our @EXPORT = qw(cpu_of memory_of load load_begin load_end settle median
                 table);

# A process and all that descend from it.
sub _family
{
    my ($pid) = @_;

    return ($pid, map { _family($_) }
            split ' ', read_file("/proc/$pid/task/$pid/children"));
}

# Seconds that the threads of a process and of its descendants, those that are
# alive, were on a processor, to the nanosecond.
sub cpu_of
{
    my ($pid) = @_;

    return sum(0, map { (split ' ', read_file($_))[0] // 0 }
                  map { glob "/proc/$_/task/*/schedstat" } _family($pid)) / 1e9;
}

# Anonymous memory of all of them in KiB, what is shared counted once.
sub memory_of
{
    my ($pid) = @_;

    return sum(0, map { read_file("/proc/$_/smaps_rollup")
                        =~ /^Pss_Anon:\s+(\d+)/m ? $1 : 0 } _family($pid));
}

my $loads = 0;

# Load in the background. Options: those of t/tools/load, ca (a Staple::CA) and
# names (a list).
sub load_begin
{
    my ($server, %o) = @_;
    my $ca = delete $o{ca};
    my $names = delete $o{names};
    my $log = work_dir() . '/load' . ++$loads;
    my $pid = spawn(
        name => 'load', log => $log,
        cmd => [build_dir() . '/t/tools/load', '--ca', $ca->root, '--port',
                $server->port, (map { ("--$_", $o{$_}) } sort keys %o),
                @$names]);

    return { pid => $pid, log => $log, server => $server,
             cpu => cpu_of($server->pid) };
}

# Its result once it is over: what load.c prints, and cpu, what the server used.
sub load_end
{
    my ($load) = @_;

    wait_for(sub { !is_running($load->{pid}) }, 900);
    my $cpu = cpu_of($load->{server}->pid) - $load->{cpu};
    my $said = read_file($load->{log});
    my ($json) = $said =~ /^(\{.*\})$/m or die "load: $said\n";

    unlink $load->{log};
    return { %{ decode_json($json) }, cpu => $cpu };
}

sub load { return load_end(load_begin(@_)) }

# Visit every name again and again until all are stapled in one go; returns the
# seconds until the end of that go, or undef after so many seconds.
sub settle
{
    my ($server, $seconds, %o) = @_;
    my $began = time;

    while (time < $began + $seconds) {
        my $got = load($server, %o, count => scalar @{ $o{names} },
                       seconds => 60 + @{ $o{names} } / 20, workers => 2);

        return time - $began if $got->{good} == @{ $o{names} };
        select undef, undef, undef, 0.02;
    }
    return;
}

sub median
{
    my @sorted = sort { $a <=> $b } @_;

    return $sorted[@sorted / 2];
}

# Rows of cells as a table in Markdown; the first row is the head.
sub table
{
    my (@rows) = @_;
    my @widths = map { my $i = $_; max(3, map { length($_->[$i] // '') } @rows) }
        0 .. $#{ $rows[0] };
    my $line = sub {
        my ($row) = @_;

        return '| ' . join(' | ', map { sprintf '%-*s', $widths[$_],
                                        $row->[$_] // '' } 0 .. $#widths)
            . " |\n";
    };

    return join('', map { $line->($_) } $rows[0], [map { '-' x $_ } @widths],
                @rows[1 .. $#rows]) . "\n";
}

1;
