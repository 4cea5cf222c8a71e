# Licensed under the Apache License, Version 2.0; see LICENSE.

# The figures of t/bench/run as bars, by gnuplot, one SVG for each question.

package Staple::Plot;

use strict;
use warnings;

use Staple::Bench qw(median);
use Staple::Work qw(work_dir write_file run tool);

my $ours = 0x1f77b4;      # red, green, blue
my $others = 0x9a9a9a;

# Bars that lie on their sides: rows of a label and a number; is_log for a
# scale where each step is ten times the last.
sub _bars
{
    my ($file, $title, $unit, $is_log, @rows) = @_;
    my $height = 110 + 26 * @rows;
    my $number = 0;
    my $data = join '', map {
        my ($label, $value) = @$_;

        sprintf "%d %g \"%s\" %d \"  %s\"\n", $number++, $value,
            $label =~ s/_/\\\\_/gr, $label =~ /mod_staple/ ? $ours : $others,
            $value < 10 ? sprintf('%.2f', $value) : sprintf('%.0f', $value)
    } reverse @rows;
    my $from = $is_log ? 1 : 0;
    my $log = $is_log ? "set logscale x\nset xrange [1:*]\n"
                      : "set xrange [0:*]\n";
    my $script = write_file(work_dir() . '/plot.gp', <<"END");
\$data << EOD
${data}EOD
set terminal svg size 760,$height font 'sans-serif,13' background '#ffffff'
set output '$file'
set title '$title'
set xlabel '$unit'
set style fill solid noborder
set grid x
set key off
set border 3
set ytics nomirror
set xtics nomirror
set offsets graph 0, graph 0.15, 0.6, 0.6
$log
plot \$data using ($from):1:($from):2:(\$1-0.35):(\$1+0.35):4:ytic(3) \\
         with boxxyerror linecolor rgb variable, \\
     \$data using 2:1:5 with labels left
END
    my ($exit, $said) = run('gnuplot', $script);

    print STDERR "gnuplot: $said\n" if $exit;
}

# The median of a figure for each server of a scenario that has it.
sub _rows
{
    my ($scenario, $name, $factor) = @_;
    my @rows;

    for my $server (sort keys %{ $scenario // {} }) {
        my @values = grep { defined } map { $_->{$name} }
            @{ $scenario->{$server} };

        push @rows, [$server, $factor * median(@values)] if @values;
    }
    return @rows;
}

sub _draw_steady
{
    my ($results, $dir) = @_;
    my ($first) = @{ $results->{steady} // [] } or return;
    my ($tls, $key, $count) = @{ $first->{combination} };

    _bars("$dir/steady.svg", 'Processor time of a handshake against the same '
          . "server without stapling (TLS $tls, one certificate)",
          'parts of the time without', 0,
          map { [$_, $first->{ratios}{$_}] } sort keys %{ $first->{ratios} });
}

sub draw
{
    my ($results, $dir) = @_;
    my @plots = (
        ['hung', 'max', 0.001, 1, 'The responder hangs from the start on',
         'longest handshake, ms'],
        ['due', 'max', 0.001, 1, 'The responder hangs when the staple is due',
         'longest handshake, ms'],
        ['graceful', 'max', 0.001, 1, 'Graceful restarts under load',
         'longest handshake, ms'],
        ['many', 'until', 1, 0, "$results->{options}{many} certificates",
         'seconds from the start until all were found stapled'],
        ['many', 'memory', 1 / 1024, 0,
         "$results->{options}{many} certificates",
         'anonymous memory of all processes, MB'],
    );

    if (!tool('gnuplot')) {
        print STDERR "no plots: gnuplot is not installed\n";
        return;
    }
    _draw_steady($results, $dir);
    for (@plots) {
        my ($scenario, $name, $factor, $is_log, $title, $unit) = @$_;
        my @rows = _rows($results->{$scenario}, $name, $factor);

        _bars("$dir/$scenario-$name.svg", $title, $unit, $is_log, @rows)
            if @rows;
    }
}

1;
