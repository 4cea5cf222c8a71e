# Licensed under the Apache License, Version 2.0; see LICENSE.

# The directive table and its manual agree, both ways: each directive has an
# entry with syntax, default and context, each entry a directive, the context
# is the one that is enforced, and create, merge and defaults know all fields.

use strict;
use warnings;

use FindBin;
use Test::More;

my $top = "$FindBin::Bin/..";

sub slurp
{
    my ($path) = @_;

    open(my $in, '<', "$top/$path") or die "$path: $!";
    local $/;
    return scalar <$in>;
}

my $source = slurp('staple_config.c');
my $header = slurp('include/staple_config.h');
my $manual = slurp('docs/directives.md');

my %table = $source =~ /AP_INIT_\w+\("(\w+)",\s*(\w+)/g;

my %entry;
$entry{$1} = $2 while $manual =~ /^## (S\w+)\n(.*?)(?=^## |\z)/gms;

is_deeply([sort keys %entry], [sort keys %table],
          'the manual has the directives of the table');

my @shared = grep { /^SSL/ } keys %table;
is(scalar @shared, 11, 'eleven directives are shared with mod_ssl');

for my $name (sort keys %table) {
    my $text = $entry{$name} // '';

    like($text, qr/^- Syntax: `$name \S.*`$/m, "$name: syntax");
    like($text, qr/^- Default: \S/m, "$name: default");
    my $is_main = $table{$name} =~ /^set_(?:message_cmd|directory|cache|share|deny|count)$/
                  || $source =~ /"$name",\s*set_\w+,\s*INFO\((\w+)\)/
                     && $source =~ /rule_t $1 = \{\s*\w+_RULE, IN_MAIN/;
    my ($context) = $text =~ /^- Context: (.*)$/m;
    is($context, $is_main ? 'server config' : 'server config, virtual host',
       "$name: context");
}

# A default is written down twice, in the manual and in the code.
my $rules = slurp('include/staple_rules.h');
my %default = $source =~ /DEFAULT\(conf(?:->main)?, (\w+), (.*)\);/g;
my %word = (0 => 'off', 1 => 'on', STAPLE_MUST_WARN => 'warn',
            STAPLE_CERT_HASH_AUTO => 'auto');
my %rule = $source =~ /rule_t\s(\w+)\s=\s\{\s*\w+_RULE,\s*(?:IN_\w+,\s*)?
                             (?:INT|SPAN)(?:_MAIN)?\((\w+)\)/gx;
my %of = $source =~ /"(\w+)",\s*set_\w+,\s*INFO\((\w+)\)/g;

for my $name (sort keys %of) {
    my $default = $default{ $rule{ $of{$name} } };
    next if !defined $default;
    # Some are other rooms' as well, and stand in a header.
    $default = "SECONDS($1)" if $default =~ /^STAPLE_/
        && $rules =~ /^#define \Q$default\E apr_time_from_sec\((\d+)\)$/m;
    my $value = $default =~ /SECONDS\((\d+)\)/ ? $1
                : $table{$name} =~ /^set_(?:word|flag)$/ ? $word{$default}
                : $default;
    # An age is written in days or hours.
    $value = $value % 86400 ? $value / 3600 . 'h' : $value / 86400 . 'd'
        if $table{$name} eq 'set_age';

    like($entry{$name}, qr/^- Default: `$name $value`$/m,
         "$name: the default in the manual is the code's, $value");
}

# The fields of a record, in its order, wherever they are listed.
sub fields
{
    my ($type) = @_;
    my ($body) = $header =~ /typedef struct $type \{(.*?)\} $type;/s;

    $body =~ s{/\*.*?\*/}{}gs;
    return $body =~ /(\w+);/g;
}

my ($make) = $source =~ /make_main.*?\{(.*?)\n\}/s;
my ($create) = $source =~ /staple_config_create.*?\{(.*?)\n\}/s;
my ($merge) = $source =~ /staple_config_merge.*?\{(.*?)\n\}/s;
my ($finish) = $source =~ /void staple_config_finish.*?\{(.*?)\n\}/s;
my ($finish_main, $finish_server) = split(/\n\n/, $finish);

my @main = fields('staple_main_conf_t');
is_deeply([$make =~ /^    conf->([a-z_]+)(?:\.path)? = /gm], \@main,
          'make_main lists the fields in order');
is_deeply([$finish_main =~ /(?:DEFAULT\(conf->main, |\/\* )(\w+)/g],
          [grep { !/^(?:has_)?cache$|^message_cmd$|^response_directory$|share$|^deny$/ } @main],
          'the defaults of the main record list its fields in order');

my @fields = fields('staple_server_conf_t');
is_deeply([$create =~ /conf->(\w+) = /g], \@fields,
          'create lists the fields in order');
is_deeply([$merge =~ /MERGE(?:_PTR|_OWN)?\((\w+)\)/g], \@fields,
          'merge lists the fields in order');
is_deeply([$finish_server =~ /(?:DEFAULT\(conf, |\/\* )(\w+)/g],
          [grep { !/^main$|_url$|^proxy$|^response_files$|^notes$/ } @fields],
          'the defaults list the fields in order');

done_testing();
