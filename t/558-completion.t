# Licensed under the Apache License, Version 2.0; see LICENSE.

# The completion of staplectl for bash knows its commands, options and states;
# that for zsh has the same words in it, and the manual page, too.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Work qw(build_dir source_dir work_dir);

my $folder = source_dir() . '/staplectl/completion';
my $program = build_dir() . '/staplectl/staplectl';
my (undef, $help) = run($program, '--help');
my (undef, $refusal) = run($program, 'list', '--state', 'x');
my %words = (
    commands => join(' ', sort $help =~ /^(?:usage:|      ) staplectl (\w+) /mg),
    options  => join(' ', sort $help =~ /^ +(?:-\w, +)?(--[a-z-]+)/mg),
    states   => join(' ', sort split /, /, $refusal =~ /there are (.*)/ ? $1 : ''),
);

# What bash offers behind these words.
sub offered
{
    my (@words) = @_;
    my $last = $#words;
    my $quoted = join ' ', map { "'$_'" } @words;
    my (undef, $out) = run('bash', '-c', "PATH='@{[ build_dir() ]}/staplectl':\$PATH
        . '$folder/bash/staplectl'
        COMP_WORDS=($quoted) COMP_CWORD=$last
        _staplectl
        printf '%s\\n' \"\${COMPREPLY[\@]}\"");

    return join ' ', sort split /\n/, $out;
}

SKIP: {
    skip 'needs bash', 4 if !tool('bash');
    is(offered('staplectl', ''), $words{commands}, 'bash: the commands');
    is(offered('staplectl', 'ref'), 'refresh', '... one by its beginning');
    my $options = offered('staplectl', 'list', '--');
    my @missing = grep { " $options " !~ / \Q$_\E / } split / /, $words{options};
    is("@missing", '', '... the options');
    is(offered('staplectl', 'list', '--state', ''), $words{states},
       '... the states');
}

my $zsh = read_file("$folder/zsh/_staplectl");
my $man = read_file(source_dir() . '/docs/man/staplectl.8') =~ s/\\-/-/gr;
for my $what (sort keys %words) {
    my @words = split / /, $words{$what};
    cmp_ok(scalar @words, '>', 5, "$what");
    is(join(' ', grep { $zsh !~ /\Q$_\E\b/ } @words), '', '... in that for zsh');
    is(join(' ', grep { $man !~ /\Q$_\E\b/ } @words), '',
       '... in the manual page');
}

# Certificates of a ring.
my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $httpd = Staple::Httpd->new(conf => stapling(), vhosts => [
    map { { cert => $ca->leaf(name => $_, ocsp => $responder->url) } }
        'one.test', 'two.test']);
$httpd->start;
my $ring = $httpd->dir . '/logs/stapling_cache';
SKIP: {
    skip 'needs bash', 1 if !tool('bash');
    ok(wait_for(sub { offered('staplectl', 'show', '--ring', $ring, '')
                      eq 'one.test two.test' }, 30),
       'bash: the certificates of a ring');
}
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

# A certificate's owner chooses its names: they are not run, nor expanded.
SKIP: {
    skip 'needs bash', 2 if !tool('bash');
    my $made = work_dir() . '/made';
    my $fake = work_dir() . '/fake';
    mkdir $fake or die "$fake: $!\n";
    my $json = join ",\n", map { qq({ "name": "$_" }) }
        "\$(touch $made)", "`touch $made`", "x;touch $made", '/*', '\${HOME}',
        '$HOME', 'good.test:443', '[2001:db8::1]:443';
    write_file("$fake/staplectl", "#!/bin/sh\ncat <<'END'\n$json\nEND\n");
    chmod 0755, "$fake/staplectl";
    my (undef, $out) = run('bash', '-c', "PATH='$fake':\$PATH
        . '$folder/bash/staplectl'
        COMP_WORDS=(staplectl show '') COMP_CWORD=2
        _staplectl
        printf '%s\\n' \"\${COMPREPLY[\@]}\"");
    ok(!-e $made, 'bash: a name is not run');
    is($out, "good.test\n", '... nor expanded, and a usual one is offered');
}

done_testing();
